"""The store as a dict: the same semantics, said as plainly as possible, to compare the real ones with.

Answers are plain tuples and dicts, which end with what was put into the outbox and into audit trails.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from runner.records import Notice
from runner.store.crashes import MAX_CRASHES
from runner.transactions import (
    Action,
    Commit,
    Deliver,
    Follow,
    Operate,
    Outgoing,
    Start,
)
from tests.contract.kept import AHEAD, PAST, Kept, Moment, earlier, moment

#: What passing over makes of the n-th time in a row, in ms.
DELAYS = (1_000, 2_000, 4_000, 8_000, 16_000, 30_000)
#: A line of an audit trail: the execution, the kind, the fields.
Line = tuple[str, str, dict[str, Any]]


@dataclass
class Model:
    executions: dict[str, Kept] = field(default_factory=dict)
    outbox: list[Outgoing] = field(default_factory=list)
    tombstones: dict[str, Deliver] = field(default_factory=dict)
    parcels: list[Outgoing] = field(default_factory=list)  # of the present call …
    rows: list[Line] = field(default_factory=list)  # … and its lines

    def post(self, going: Outgoing) -> None:
        self.outbox.append(going)
        self.parcels.append(going)

    @contextmanager
    def change(self, kept: Kept, *notes: tuple[str, dict[str, Any]]) -> Generator[None]:
        """What happens inside leaves its lines, and an end is told."""
        before, owned, over = kept.status, bool(kept.nonce), kept.over
        yield
        rows = list(notes)
        if kept.status != before:
            fields = {"from": before, "to": kept.status}
            fields |= {"worker": kept.worker} if kept.nonce and not owned else {}
            fields |= {"cause": kept.cause} if kept.over else {}
            rows.append(("status", fields))
        rows = [(kind, dict(sorted(fields.items()))) for kind, fields in rows]
        kept.trail += rows
        self.rows += [(kept.asked.id, *row) for row in rows]
        if kept.over and not over:
            self.tell(kept)

    def told(self) -> tuple[Any, ...]:
        """What an answer ends with. What a call did not tell in its answer is told in no other."""
        told = sorted(self.parcels, key=repr), sorted(self.rows, key=repr)
        self.parcels, self.rows = [], []
        return told

    # -- arrivals ---------------------------------------------------------------------------------

    def start(self, asked: Start) -> Any:
        self.told()
        kept = self.executions.get(asked.id)
        if kept is None:
            kept = self.create(asked)
        elif asked.parent and asked.request != kept.asked.request:
            self.add_follower(kept, asked.parent, asked.parent_run)
        waiting = kept.status == "pending" and not kept.claimed and kept.ready
        new = kept.asked.request == asked.request
        return new, kept.asked.digest, kept.wake() if waiting else None, self.told()

    def create(self, asked: Start) -> Kept:
        kept = self.executions[asked.id] = Kept.begun(asked)
        created = {"workflow": asked.workflow, "version": asked.version, "parent": asked.parent}
        with self.change(kept, ("created", created)):
            pass
        if (cancel := self.tombstones.pop(asked.id, None)) is not None:
            self.receive(kept, cancel)
        return kept

    def deliver(self, asked: Deliver) -> Any:
        self.told()
        reception, wake = self._deliver(asked)
        return reception, wake, self.told()

    def _deliver(self, asked: Deliver) -> Any:
        kept = self.executions.get(asked.id)
        if kept is None:
            if asked.tombstone:
                self.tombstones.setdefault(asked.id, asked)
            return "delivered" if asked.tombstone else "unknown", None
        if asked.kind == "reopened":
            return self.reopened(kept, asked), None
        if once(asked) in kept.requests:
            woke = kept.requests[once(asked)]
            return "delivered", kept.wake() if woke == kept.seq and kept.ready else None
        if not asked.request.startswith("mismatch:"):
            kept.mark_ended(asked.name, openings_told(asked))
        if kept.over or asked.run not in (0, kept.run):
            return "terminal", None
        if asked.kind == "cancel" and kept.cancelled:
            return "delivered", None
        return "delivered", self.receive(kept, asked)

    def reopened(self, kept: Kept, asked: Deliver) -> str:
        """Which was first, the reopening or the parent's end, is a matter of moments: the store's word is taken for it."""
        openings, _, run, policy = asked.payload.decode().split(" ")
        kept.mark_reopened(asked.name, int(openings), int(run), policy)
        if kept.over and asked.tombstone and kept.cancels(asked.name):
            self.post(cancelled(kept, asked.name))
        return "terminal" if kept.over else "delivered"

    def receive(self, kept: Kept, asked: Deliver) -> Any:
        note: tuple[str, dict[str, Any]] = ("delivered", {"kind": asked.kind, "name": asked.name})
        if asked.kind == "cancel":
            note = ("cancel", {"reason": asked.name})
        with self.remembered(kept, once(asked)) as wake, self.change(kept, note):
            kept.receive(asked.kind, asked.name, asked.payload)
        return wake[0] if wake else None

    @contextmanager
    def remembered(self, kept: Kept, request: str) -> Generator[list[Any]]:
        """A request is known from now on, with the wake that it causes."""
        before, wake = kept.seq, list[Any]()
        yield wake
        kept.requests[request] = kept.seq if kept.seq > before else 0
        if kept.seq > before:
            wake.append(kept.wake())

    # -- relatives ----------------------------------------------------------------------------------

    def follow(self, asked: Follow) -> Any:
        self.told()
        kept = self.executions.get(asked.target)
        if kept is None:
            self.post(ended(asked.waiter, asked.run, Notice(execution_id=asked.target, status="unknown"), 0))
        elif kept.asked.workflow != asked.workflow:
            other = Notice(execution_id=asked.target, status="mismatch", workflow=kept.asked.workflow)
            request = f"mismatch:{asked.target}:{asked.workflow}"
            self.post(ended(asked.waiter, asked.run, other, 0, request))
        else:
            self.add_follower(kept, asked.waiter, asked.run)
        return self.told()

    def add_follower(self, kept: Kept, waiter: str, run: int) -> None:
        if kept.over:
            self.post(ended(waiter, run, kept.notice(), kept.openings))
        else:
            kept.followers.add((waiter, run))

    def tell(self, kept: Kept) -> None:
        for waiter, run in kept.followers:
            self.post(ended(waiter, run, kept.notice(), kept.openings))
        for child in kept.children:
            if kept.cancels(child):
                self.post(cancelled(kept, child))

    def children(self, id: str) -> Any:
        kept = self.executions.get(id)
        return (
            []
            if kept is None
            else [(child, policy, phase % 2 == 1) for child, (policy, _, phase) in sorted(kept.children.items())]
        )

    # -- turns ------------------------------------------------------------------------------------

    def claim(self, id: str, nonce: str, worker: str, lease: Moment) -> Any:
        self.told()
        kept = self.executions.get(id)
        if kept is None:
            return "unknown"
        if kept.over:
            return "terminal"
        if kept.nonce:
            if kept.nonce != nonce:
                return "owned"
            kept.lease = lease
            return kept.seen(), self.told()
        if kept.deadline == PAST:
            with self.change(kept):
                kept.time_out()
            return "terminal"
        if not kept.ready or nonce == kept.last_nonce:
            return "idle"
        with self.change(kept):
            kept.ready, kept.timer, kept.passed, kept.claimed = False, None, "", True
            kept.nonce, kept.worker, kept.lease = nonce, worker, lease
            if kept.status != "cancelling":
                kept.status = "running"
        return kept.seen(), self.told()

    def commit(self, asked: Commit) -> Any:
        self.told()
        kept = self.executions.get(asked.id)
        if kept is None:
            return None
        if kept.remembers(asked):
            if kept.nonce == asked.nonce:
                kept.lease = moment(asked.lease_ms)
        elif kept.nonce != asked.nonce or kept.has_later(asked):
            return None
        else:
            self.write(kept, asked)
        released, status, deadlines, begun = kept.memory[2]
        news = [] if begun else kept.inbox[asked.seen :]
        wake = kept.wake() if begun and begun == kept.seq and kept.ready else None
        return released, status, deadlines, news, wake, self.told()

    def write(self, kept: Kept, asked: Commit) -> None:
        with self.change(kept, *[(row.kind, dict(row.fields)) for row in asked.audit]):
            deadlines = kept.write(asked)
            for going in asked.outgoing:
                self.post(going)
            released = asked.end is not None and not kept.refuses(asked)
            if released:
                kept.take(asked)
        kept.memory = (asked.nonce, asked.count, (released, kept.status, deadlines, kept.seq if kept.ready else 0))

    def renew(self, id: str, nonce: str, lease: Moment) -> Any:
        kept = self.executions.get(id)
        if kept is None:
            return False, 0
        if kept.nonce == nonce:
            kept.lease = lease
        return kept.nonce == nonce, len(kept.inbox)

    def release(self, id: str, nonce: str) -> Any:
        kept = self.executions.get(id)
        if kept is None or kept.nonce != nonce:
            return None
        with self.change(kept):
            kept.hand_over()
        return kept.wake()

    def break_off(self, id: str, nonce: str, most: int, error: bytes) -> Any:
        self.told()
        kept = self.executions.get(id)
        if kept is None or kept.nonce != nonce:
            if kept is None or kept.nonce or kept.broken[0] != nonce or kept.last_nonce != nonce:
                return [], self.told(), False
            poisoned = kept.broken[1]
            return [kept.wake()] if kept.ready and not poisoned else [], self.told(), poisoned and kept.over
        with self.change(kept):
            kept.crashes += 1
            if kept.crashes >= most:
                kept.error = error
                kept.end("failed", "poisoned")
            else:
                kept.hand_over()
        kept.broken = (nonce, kept.over)
        return [kept.wake()] if kept.ready else [], self.told(), kept.over

    def pass_over(self, id: str, reason: str) -> int | None:
        """The delay it makes, when no other ready execution hides it."""
        kept = self.executions.get(id)
        if kept is None or not kept.ready:
            return None
        kept.passed, kept.passes = reason, kept.passes + 1
        return DELAYS[min(kept.passes, len(DELAYS)) - 1] if self.only_ready(id) else None

    def only_ready(self, id: str) -> bool:
        return [one.asked.id for one in self.executions.values() if one.ready] == [id]

    def rush(self) -> Any:
        return sorted(kept.wake() for kept in self.executions.values() if kept.ready and kept.passed)

    def operate(self, asked: Operate) -> Any:
        self.told()
        kept = self.executions.get(asked.id)
        if kept is None:
            return "unknown", None, None, self.told()
        if asked.request in kept.requests:
            woke = kept.requests[asked.request]
            return "done", kept.status, kept.wake() if woke == kept.seq and kept.ready else None, self.told()
        if asked.entries is not None and asked.entries != len(kept.journal):
            return "changed", kept.status, None, self.told()
        if not kept.allows(asked.action):
            return "refused", kept.status, None, self.told()
        note = ("operator", {"action": asked.action.value, "actor": asked.actor})
        with self.remembered(kept, asked.request) as wake, self.change(kept, note):
            kept.suffer(asked)
            if asked.action in (Action.RETRY, Action.ROLLBACK) and kept.asked.parent:
                self.post(reopening(kept))
        return "done", kept.status, wake[0] if wake else None, self.told()

    # -- time -------------------------------------------------------------------------------------

    def due(self) -> Any:
        self.told()
        woken = []
        for kept in self.executions.values():
            if kept.timer == PAST:
                with self.change(kept):
                    if kept.deadline == PAST:
                        kept.time_out()
                    else:
                        kept.make_ready()
                        woken.append(kept.wake())
        return sorted(woken), self.told()

    def reap(self, alive: list[str]) -> Any:
        self.told()
        woken = []
        for kept in self.executions.values():
            if kept.lease == PAST:
                crash = kept.worker not in alive
                with self.change(kept):
                    kept.crashes += crash
                    if crash and kept.crashes >= MAX_CRASHES:
                        kept.end("failed", "poisoned")
                    else:
                        kept.hand_over()
                        woken.append(kept.wake())
        return sorted(woken), self.told()

    def purge(self) -> int:
        gone = [id for id, kept in self.executions.items() if kept.expiry == PAST]
        for id in gone:
            del self.executions[id]
        return len(gone)

    # -- reading ----------------------------------------------------------------------------------

    def read(self, id: str) -> Any:
        kept = self.executions.get(id)
        return None if kept is None else kept.seen()

    def audit(self, id: str) -> Any:
        kept = self.executions.get(id)
        return [] if kept is None else kept.trail

    def stuck(self) -> set[str]:
        return {id for id, kept in self.executions.items() if kept.stuck}

    def with_attributes(self, wanted: Iterable[tuple[str, str]]) -> set[str]:
        pairs = set(wanted)
        return {id for id, kept in self.executions.items() if pairs <= set(kept.attributes.items())}

    def indexes(self) -> dict[str, Moment]:
        """What each time index says about its earliest entry, and the outbox about its own."""
        kept = self.executions.values()
        return {
            "timers": earlier(*[one.timer for one in kept]),
            "leases": earlier(*[one.lease for one in kept]),
            "ready": AHEAD if any(one.ready for one in kept) else None,
            "expiry": earlier(*[one.expiry for one in kept]),
            "outbox": PAST if self.outbox else None,
        }


def once(asked: Deliver) -> str:
    return f"{asked.request} {asked.run}" if asked.kind == "ended" else asked.request


def openings_told(asked: Deliver) -> int:
    return int(asked.request.split(":")[2]) if asked.request.startswith("ended:") else 0


def cancelled(kept: Kept, child: str) -> Outgoing:
    id = kept.asked.id
    return Outgoing(
        target=child, request=f"cancel:{id}:{kept.openings}", kind="cancel", name=f"its parent {id} has ended"
    )


def reopening(kept: Kept) -> Outgoing:
    """Without its time."""
    id, about = kept.asked.id, f"{kept.openings}  {kept.asked.parent_run} {kept.asked.parent_close}"
    return Outgoing(
        target=kept.asked.parent,
        request=f"reopened:{id}:{kept.openings}",
        kind="reopened",
        name=id,
        payload=about.encode(),
    )


def ended(waiter: str, run: int, notice: Notice, opening: int, request: str = "") -> Outgoing:
    id = notice.execution_id
    request = request or f"ended:{id}:{opening}"
    return Outgoing(target=waiter, request=request, kind="ended", name=id, payload=notice.pack(), run=run)
