"""From a recorded entry to what its command gives the code: the same live and replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runner.codec import decode
from runner.core.branches import Heard, Raised, Returned
from runner.core.commands import Decision, Leaf, Opened, Sleep, Step, WaitForEnd, WaitForSignal
from runner.core.failing import step_error
from runner.core.places import show
from runner.endings import result_of_notice
from runner.errors import HistoryMismatch, PayloadError
from runner.failures import Failure
from runner.records import Entry, Notice
from runner.signals import TimedOut

Errors = Mapping[str, type[BaseException]]
#: Told of every recorded failure that enters the code: the error, and the entries to be tried again with it.
Failed = Callable[[BaseException, tuple[str, ...]], None]


def answer(opened: Opened, entry: Entry, errors: Errors, failed: Failed) -> Heard:
    """What the branch that asked hears. Raises HistoryMismatch where the entry is not what was asked for."""
    command = opened.command
    if command.kind != entry.kind:
        raise HistoryMismatch(
            f"{entry.id!r} is recorded as {entry.kind}, the code at {show(command.where)} asks for {command.kind}"
        )
    match command:
        case Step():
            return _stepped(command, entry, errors, failed)
        case Sleep():
            return Returned(None)
        case WaitForSignal() | WaitForEnd() if entry.outcome == "timed_out":
            return Returned(TimedOut())
        case WaitForSignal():
            return _signalled(command, entry)
        case WaitForEnd():
            return _ended(command, entry, errors, failed)
        case Decision():
            return Returned(_as_recorded(entry, Any))


def _stepped(command: Step, entry: Entry, errors: Errors, failed: Failed) -> Heard:
    if entry.outcome == "ok":
        return Returned(_as_recorded(entry, command.returns))
    error = step_error(entry.outcome, Failure.unpack(entry.payload), errors)
    failed(error, (entry.id,))
    return Raised(error)


def _ended(command: WaitForEnd, entry: Entry, errors: Errors, failed: Failed) -> Heard:
    try:
        return Returned(
            result_of_notice(Notice.unpack(entry.payload), command.output_type, errors, workflow=command.workflow)
        )
    except PayloadError as error:  # of another's making, and the code's to handle, as a signal's is
        return Raised(error)
    except Exception as error:  # noqa: BLE001 - how the other one ended, as an error
        failed(error, (entry.id,) if command.child is None else (entry.id, command.child))
        return Raised(error)


def _signalled(command: WaitForSignal, entry: Entry) -> Heard:
    """A payload that does not fit the workflow's type is the workflow's to handle: it came from outside."""
    try:
        value = decode(entry.payload, command.payload_type, what=f"signal {command.signal!r}")
    except PayloadError as error:
        return Raised(error)
    return Returned(value)


def _as_recorded(entry: Entry, type: Any) -> Any:
    try:
        return decode(entry.payload, type, what=entry.id)
    except PayloadError as error:
        raise _unreadable(entry, error) from error


def _unreadable(entry: Entry, error: PayloadError) -> HistoryMismatch:
    return HistoryMismatch(f"the recorded result of {entry.id!r} is not what the code expects: {error}")


def timed_out(command: Leaf) -> str:
    """The outcome of a wait whose time is over."""
    return "ok" if isinstance(command, Sleep) else "timed_out"
