"""What a waiting workflow hears next: a pure choice between its inbox and the clock.

A signal, or a notice of an end, stored at or before a wait's deadline beats the timeout, whenever anybody looks; of
several waits on one signal the one that was opened first gets it. A notice is not used up: every wait for
that execution hears the latest; but who asked for it hears no notice that is older than its question.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from runner.codec import encode
from runner.core.answers import timed_out
from runner.core.commands import Opened, Sleep, WaitForEnd, WaitForSignal
from runner.core.replay import CANCEL_ID
from runner.records import InboxItem, Notice

_NEVER: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to be recorded and delivered; ``time`` is when it came about, for the order among several."""

    id: str
    kind: str
    outcome: str
    time: int
    payload: bytes = b""
    consumes: int = -1


def events(
    opened: Iterable[Opened],
    deadlines: Mapping[str, int | None],
    unread: Iterable[InboxItem],
    now: int,
    since: Mapping[str, int] = _NEVER,
    *,
    anew: bool = False,
) -> list[Event]:
    """Everything that has come about by ``now``, in the order in which it did.

    ``deadlines`` holds the waits that the store knows; an open command that is not in it has no deadline yet.
    ``since``: when each of those was opened. ``anew``: an operator opened the execution again, and it has asked
    after its children too: what was told of them before may have been taken back.
    What is heard may open new waits and end others: an event whose id is no longer open is void, and
    when the list is through, it is time to ask again.
    """
    waits = [one for one in opened if isinstance(one.command, Sleep | WaitForSignal | WaitForEnd)]
    heard = _heard(waits, deadlines, unread, since, anew=anew)
    taken = {event.id for event in heard}
    passed = [
        Event(id=one.id, kind=one.command.kind, outcome=timed_out(one.command), time=deadline)
        for one in waits
        if one.id not in taken and (deadline := deadlines.get(one.id)) is not None and _is_over(one, deadline, now)
    ]
    # A stable sort: of two at the same time a signal comes before a deadline, the earlier opened before the later.
    return sorted([*heard, *passed], key=lambda event: event.time)


def _heard(
    waits: Iterable[Opened],
    deadlines: Mapping[str, int | None],
    unread: Iterable[InboxItem],
    since: Mapping[str, int],
    *,
    anew: bool,
) -> list[Event]:
    """Each unread item with the wait that was opened first among those that still may have it."""
    listening: dict[str, deque[Opened]] = {}
    for one in waits:
        if isinstance(one.command, WaitForSignal):
            listening.setdefault(one.command.signal, deque()).append(one)
    heard: list[Event] = []
    ends: dict[str, list[InboxItem]] = {}
    for item in unread:
        if item.kind == "cancel":
            heard.append(_event(CANCEL_ID, "cancel", replace(item, payload=encode(item.name))))
        elif item.kind == "ended":
            ends.setdefault(item.name, []).append(item)
        elif item.kind == "signal" and (queue := listening.get(item.name)):
            wait = _first_that_may(queue, item.at, deadlines)
            if wait is not None:
                heard.append(_event(wait.id, "signal", item))
    return heard + _ends(waits, ends, deadlines, since, anew=anew) if ends else heard


def _ends(
    waits: Iterable[Opened],
    ends: Mapping[str, list[InboxItem]],
    deadlines: Mapping[str, int | None],
    since: Mapping[str, int],
    *,
    anew: bool,
) -> list[Event]:
    """The waits for executions that have ended in time."""
    return [
        Event(id=one.id, kind="ended", outcome="ok", time=item.at, payload=item.payload)
        for one in waits
        if isinstance(one.command, WaitForEnd)
        and (item := _notice(one.command, ends.get(one.command.execution_id, ()), since.get(one.id), anew=anew))
        is not None
        and ((deadline := deadlines.get(one.id)) is None or item.at <= deadline)
    ]


def _notice(command: WaitForEnd, items: Sequence[InboxItem], since: int | None, *, anew: bool) -> InboxItem | None:
    """The latest that is for this wait. A child's end is told once, maybe before anybody waits; all else is an answer."""
    if command.child is not None and not anew:
        return items[-1] if items else None
    answers = (item for item in reversed(items) if since is not None and item.at >= since)
    return next((item for item in answers if not _is_anothers(command, item)), None)


def _is_anothers(command: WaitForEnd, item: InboxItem) -> bool:
    """True for the answer to a wait that took the execution for one of another workflow."""
    notice = Notice.unpack(item.payload)
    return notice.status == "mismatch" and notice.workflow == command.workflow


def _first_that_may(queue: deque[Opened], at: int, deadlines: Mapping[str, int | None]) -> Opened | None:
    """Takes it out of the queue, with those before it that are over: no later item can be for them either."""
    while queue:
        wait = queue.popleft()
        deadline = deadlines.get(wait.id)
        if deadline is None or at <= deadline:
            return wait
    return None


def _event(id: str, kind: str, item: InboxItem) -> Event:
    return Event(id=id, kind=kind, outcome="ok", time=item.at, payload=item.payload, consumes=item.index)


def _is_over(opened: Opened, deadline: int, now: int) -> bool:
    match opened.command:
        case Sleep():
            return deadline <= now
        case _:
            # In the deadline's own millisecond a signal or a notice may still come, and would beat it.
            return deadline < now
