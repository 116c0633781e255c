"""What a waiting workflow hears next: a pure choice between its inbox and the clock.

A signal stored at or before a wait's deadline beats the timeout, whenever anybody looks; of several
waits on one signal the one that was opened first gets it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from runner.core.commands import Opened, Sleep, WaitForSignal
from runner.core.replay import CANCEL_ID
from runner.records import InboxItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to be recorded and delivered; ``time`` is when it came about, for the order among several."""

    id: str
    kind: str
    outcome: str
    time: int
    payload: bytes = b""
    consumes: int = -1


def next_event(
    opened: Collection[Opened],
    deadlines: Mapping[str, int | None],
    unread: Iterable[InboxItem],
    now: int,
) -> Event | None:
    """The earliest thing that has come about by ``now``, or None.

    ``deadlines`` holds the waits that the store knows; an open command that is not in it has no deadline yet.
    """
    heard = _first_heard(opened, deadlines, unread)
    passed = _first_passed(opened, deadlines, now)
    if heard is not None and (passed is None or heard.time <= passed.time):
        return heard
    return passed


def _first_heard(
    opened: Collection[Opened], deadlines: Mapping[str, int | None], unread: Iterable[InboxItem]
) -> Event | None:
    for item in unread:
        if item.kind == "cancel":
            return Event(
                id=CANCEL_ID, kind="cancel", outcome="ok", time=item.at, payload=item.payload, consumes=item.index
            )
        wait = next((one for one in opened if _hears(one, item, deadlines.get(one.id))), None)
        if wait is not None:
            return Event(
                id=wait.id, kind="signal", outcome="ok", time=item.at, payload=item.payload, consumes=item.index
            )
    return None


def _hears(opened: Opened, item: InboxItem, deadline: int | None) -> bool:
    command = opened.command
    return (
        isinstance(command, WaitForSignal)
        and item.kind == "signal"
        and item.name == command.signal
        and (deadline is None or item.at <= deadline)
    )


def _first_passed(opened: Collection[Opened], deadlines: Mapping[str, int | None], now: int) -> Event | None:
    passed = [
        (deadline, one)
        for one in opened
        if (deadline := deadlines.get(one.id)) is not None and _is_over(one, deadline, now)
    ]
    if not passed:
        return None
    deadline, wait = min(passed, key=lambda pair: pair[0])
    outcome = "ok" if isinstance(wait.command, Sleep) else "timed_out"
    return Event(id=wait.id, kind=wait.command.kind, outcome=outcome, time=deadline)


def _is_over(opened: Opened, deadline: int, now: int) -> bool:
    match opened.command:
        case Sleep():
            return deadline <= now
        case WaitForSignal():
            # In the deadline's own millisecond a signal may still come, and would beat it.
            return deadline < now
        case _:
            return False
