"""What workflow code asks for along a journal, one call after the other, so that two replays can be compared."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.app import App
from runner.codec import encode
from runner.core.branches import Raised, Returned
from runner.core.commands import Leaf, Opened, Place, Sleep, Step, WaitForEnd, WaitForSignal
from runner.core.places import show
from runner.core.replay import Continued
from runner.errors import PayloadError
from runner.records import Entry, Execution
from runner.testing.shifted import shifted
from runner.workers.play import Play
from runner.workflow import Workflow

#: Entries that answer at once, where the code does not wait for them: they have to be there before it runs.
_AT_ONCE = ("patch", "attempt")


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing asked for. ``text`` shows it; ``what`` is equal where it is the same."""

    text: str
    what: bytes = field(repr=False)
    where: Place | None = None

    def __str__(self) -> str:
        return self.text if self.where is None else f"{self.text} at {show(self.where)}"


class Retrace(Play):
    """A replay that takes one entry at a time, and notes what the code asks for in between."""

    def __init__(self, app: App, workflow: Workflow[Any, Any], execution: Execution) -> None:
        super().__init__(execution, workflow, app.errors, app.find, lambda: None)
        self.asked: list[Asked] = []
        self._seen: set[str] = set()

    def trace(self, entries: Sequence[Entry]) -> list[Asked]:
        """Everything that is asked for along these entries, and what it comes to."""
        self.replay.replaying = True
        self.replay.record(entry for entry in entries if entry.kind in _AT_ONCE)
        reopenings = sum(entry.kind == "attempt" and entry.outcome == "reopened" for entry in entries)
        self.drive(lambda: self._enter(reopenings))
        self._look()
        for entry in sorted(entries, key=lambda entry: entry.number):
            if entry.kind not in _AT_ONCE and self.replay.outcome is None:
                self.feed(entry)
                self._look()
        self._conclude()
        self.close()
        return self.asked

    def _look(self) -> None:
        for opened in self.replay.open.values():
            if opened.id not in self._seen:
                self._seen.add(opened.id)
                self.asked.append(_asked(opened))

    def _conclude(self) -> None:
        match self.replay.outcome:
            case Returned(value) | Continued(value):
                self.asked.append(Asked(f"its end, with {reprlib.repr(value)}", b"end " + _bytes(value)))
            case Raised(error):
                self.asked.append(
                    Asked(f"its end, with {type(error).__name__}", f"end {type(error).__name__}".encode())
                )
            case _:
                pass


def unsteady(app: App, workflow: Workflow[Any, Any], execution: Execution, entries: Sequence[Entry]) -> str | None:
    """Where two replays of one journal ask for different things, in words; None where they do not.

    The second one reads a later clock, the third an earlier one; random numbers and uuids are others anyway.
    """
    once = Retrace(app, workflow, execution).trace(entries)
    for direction in (1, -1):
        with shifted(getattr(workflow.fn, "__globals__", {}), direction=direction):
            again = Retrace(app, workflow, execution).trace(entries)
        if difference := _difference(once, again):
            return difference
    return None


def _difference(once: list[Asked], again: list[Asked]) -> str | None:
    for one, other in zip(once, again, strict=False):
        if one.what != other.what:
            return f"one replay asks for {one}, the next for {other}"
    if len(once) != len(again):
        longer, shorter = (once, again) if len(once) > len(again) else (again, once)
        return f"one replay asks for {longer[len(shorter)]}, the next does not"
    return None


def _asked(opened: Opened) -> Asked:
    command = opened.command
    text, what = _detail(command)
    return Asked(f"{command.kind} {opened.id!r}{text}", f"{command.kind} {opened.id} ".encode() + what, command.where)


def _detail(command: Leaf) -> tuple[str, bytes]:
    """What there is to it, beside its id: shown, and compared."""
    match command:
        case Step():
            values = (*command.args, *command.kwargs.values())
            return f" ({', '.join(map(reprlib.repr, values))})", b"|".join(map(_bytes, values))
        case Sleep():
            shown = command.after_ms if command.until_ms is None else command.until_ms
            return f" ({shown} ms)", str((command.after_ms, command.until_ms)).encode()
        case WaitForSignal():
            return f" ({command.signal!r})", str((command.signal, command.timeout_ms)).encode()
        case WaitForEnd():
            return f" ({command.execution_id!r})", str((command.execution_id, command.timeout_ms)).encode()
        case _:
            # A decision is recorded before anything follows from it: it may well look at the clock.
            return "", b""


def _bytes(value: Any) -> bytes:
    """What is compared; of a value that cannot be stored, its type."""
    try:
        return encode(value)
    except PayloadError:
        return type(value).__qualname__.encode()
