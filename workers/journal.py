"""The journal as one turn sees it: what is recorded, what waits, what came in, and what is not written yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from runner.core.commands import Opened, Sleep, WaitForSignal
from runner.core.places import show
from runner.records import (
    Entry,
    History,
    InboxItem,
    Wait,
)
from runner.transactions import Committed, Open

#: A run may record this many entries, and this many bytes: every claim reads them all.
MAX_ENTRIES, MAX_BYTES = 10_000, 50 * 1024 * 1024
#: From this share of either on, each turn warns.
WARN_FULLNESS = 0.8


class TurnJournal:
    """Numbers entries under the lease and keeps account of what the store does not know yet."""

    def __init__(self, history: History) -> None:
        self.entries = history.entries
        self.unwritten: list[Entry] = []
        self.unread = _unread(history)  # by index, in order of arrival
        self.seen = len(history.inbox)
        self.deadlines: dict[str, int | None] = {}  # of the sleeps and signal waits that the store knows
        self.retries: dict[str, Wait] = {}  # of steps that are to be tried again, by step id
        self._new_retries: dict[str, Open] = {}  # … that the store has not heard of
        self._number = max((entry.number for entry in history.entries), default=0)
        self._bytes = sum(len(entry.payload) for entry in history.entries)
        # What the code must ask for under these ids: a retry is a step's.
        self._stored = {wait.id: "step" if wait.kind == "retry" else wait.kind for wait in history.waits}
        for wait in history.waits:
            if wait.kind == "retry":
                self.retries[wait.id] = wait
            else:
                self.deadlines[wait.id] = wait.deadline

    def append(
        self,
        id: str,
        kind: str,
        outcome: str,
        payload: bytes,
        *,
        at: int,
        attempts: int = 1,
        consumes: int = -1,
        started_at: int = 0,
    ) -> Entry:
        """The next entry; not written yet."""
        self._number += 1
        self._bytes += len(payload)
        entry = Entry(
            number=self._number,
            id=id,
            kind=kind,
            outcome=outcome,
            payload=payload,
            at=at,
            attempts=attempts,
            consumes=consumes,
            started_at=started_at,
        )
        self.unwritten.append(entry)
        self.deadlines.pop(id, None)
        self.retries.pop(id, None)
        self._new_retries.pop(id, None)
        self.unread.pop(consumes, None)
        return entry

    @property
    def fullness(self) -> float:
        """How much of what a run may record has been recorded: above 1 it is too much."""
        return max(self._number / MAX_ENTRIES, self._bytes / MAX_BYTES)

    def retry(self, id: str, *, attempts: int, after_ms: int, error: str) -> None:
        """A step is to be tried again; when exactly the store says, with the commit that carries this."""
        self.retries[id] = Wait(id=id, kind="retry", name=error, opened_at=0, deadline=None, attempts=attempts)
        self._new_retries[id] = Open(
            id=id, kind="retry", name=error, after_ms=after_ms, attempts=attempts, replace=True
        )

    def attempts(self, id: str) -> int:
        """How many attempts of this step have failed so far."""
        return self.retries[id].attempts if id in self.retries else 0

    def new_waits(self, opened: Iterable[Opened]) -> list[Open]:
        """The waits that the store has not heard of."""
        waits = [
            _open(one.id, one.command)
            for one in opened
            if one.id not in self.deadlines and isinstance(one.command, Sleep | WaitForSignal)
        ]
        return [*waits, *self._new_retries.values()]

    def may_start(self, id: str, now: int) -> bool:
        """False while the step's retry is not due, or not written."""
        retry = self.retries.get(id)
        return retry is None or (retry.deadline is not None and retry.deadline <= now)

    def retries_within(self, ms: int, now: int) -> bool:
        """True when a step is to be tried again so soon that the turn had better stay."""
        return any(wait.deadline is not None and wait.deadline - now <= ms for wait in self.retries.values()) or any(
            (new.after_ms or 0) <= ms for new in self._new_retries.values()
        )

    def contradicted(self, opened: Mapping[str, Opened]) -> str | None:
        """A stored wait that the code now asks for as something else, in words."""
        for id, kind in self._stored.items():
            asked = opened[id].command.kind if id in opened else None
            if asked is not None and asked != kind:
                return f"{id!r} waits as a {kind}, the code at {show(opened[id].command.where)} asks for a {asked}"
        return None

    def stale_waits(self, opened: Iterable[str]) -> list[str]:
        """Waits in the store that nothing in the code waits for any more."""
        alive = set(opened)
        return [id for id in (*self.deadlines, *self.retries) if id not in alive]

    def written(self, committed: Committed, closed: Iterable[str]) -> None:
        """The store has taken everything that was unwritten, and said what is new."""
        self.unwritten.clear()
        self._new_retries.clear()
        for id in closed:
            self.deadlines.pop(id, None)
            self.retries.pop(id, None)
        for id, deadline in committed.deadlines.items():
            if id in self.retries:
                self.retries[id] = replace(self.retries[id], deadline=deadline)
            else:
                self.deadlines[id] = deadline
        self.unread |= {item.index: item for item in committed.news}
        self.seen += len(committed.news)

    def next_deadline(self, retries: Iterable[str]) -> int | None:
        """The earliest moment at which a sleep, a signal's timeout or one of ``retries`` is over."""
        known = [*self.deadlines.values(), *(self.retries[id].deadline for id in retries)]
        return min((moment for moment in known if moment is not None), default=None)


def _unread(history: History) -> dict[int, InboxItem]:
    consumed = {entry.consumes for entry in history.entries}
    return {item.index: item for item in history.inbox if item.index not in consumed}


def _open(id: str, command: Sleep | WaitForSignal) -> Open:
    match command:
        case Sleep(after_ms=after_ms, until_ms=until_ms):
            return Open(id=id, kind="sleep", after_ms=after_ms, until_ms=until_ms)
        case WaitForSignal(signal=name, timeout_ms=timeout_ms):
            return Open(id=id, kind="signal", name=name, after_ms=timeout_ms)
