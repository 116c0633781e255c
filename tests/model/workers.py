"""The workers: every request of a turn to the store, every call of user code, and the faults that befall them between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.model import record as store
from tests.model.explore import Move
from tests.model.record import SLEEP, UNDONE, WAIT, A, B, Record
from tests.model.rules import Off, Rules
from tests.model.state import Moves, State, answers, in_order, published, spent
from tests.model.turn import DONE, Worker, asked, body_ended, think, with_history

STEPS = {A: "A", B: "B", UNDONE: "undo A"}


def workers(state: State, rules: Rules) -> Moves:
    for index, worker in enumerate(state.workers):
        if index and worker == state.workers[index - 1]:
            continue
        one = _One(state, index, worker, rules)
        yield from _AT[worker.at](one)
        if worker.at in _IN_TURN:
            yield from _leases(one)
        if state.faults.pause and worker.trusted:
            yield f"worker at {worker.at}: stands still", True, spent(one.then(worker._replace(trusted=False)), "pause")


class _One(NamedTuple):
    """One worker in its state."""

    state: State
    place: int
    worker: Worker
    rules: Rules

    def then(self, worker: Worker, record: Record | None = None) -> State:
        """The state when the worker has become ``worker``; done, it acknowledges the hint and is gone."""
        before, at = self.state.workers, self.place
        rest = before[:at] + before[at + 1 :]
        after = in_order(rest if worker is DONE else (*rest, worker))
        return self.state._replace(workers=after, record=record or self.state.record)

    def others(self, **forgotten: Any) -> _One:
        """Everybody else's nonce, or answer, is not the record's any more."""
        everybody = enumerate(self.state.workers)
        workers = tuple(one if at == self.place else one._replace(**forgotten) for at, one in everybody)
        return self._replace(state=self.state._replace(workers=workers))


def _leases(one: _One) -> Moves:
    """What may come between any two actions of a turn: its lease is renewed, or the worker is to leave."""
    worker = one.worker
    if worker.holds and not worker.trusted:
        yield f"worker at {worker.at}: renews its lease", False, one.then(worker._replace(trusted=True))
    if one.state.faults.drain:
        leaving = one.then(Worker(at="release", holds=worker.holds, trusted=worker.trusted))
        yield f"worker at {worker.at}: is to leave", True, spent(leaving, "drain")


def _claim(one: _One) -> Moves:
    state, worker, rules = one.state, one.worker, one.rules
    record, taken = store.claim(state.record, rules, holds=worker.holds, held_last=worker.held_last)
    if not taken:
        yield "worker: claim is refused", False, one.then(DONE, record)
        return
    mine = worker._replace(holds=True, trusted=worker.trusted or not worker.holds, held_last=False)
    claimed = one.others(holds=False)
    answered, unanswered = claimed.then(with_history(mine, record), record), claimed.then(mine, record)
    yield from answers("worker: claim", answered, unanswered)


def _think(one: _One) -> Moves:
    state, worker, rules = one.state, one.worker, one.rules
    after = think(worker, state.record.inbox, rules)
    if after.at == "call" and rules.off is Off.CHECK_AT_CALL:
        yield "worker: hands a step to the threads", False, one.then(after._replace(at="queued"))
    elif after.at == "call":
        yield _called(one, after)
    else:
        yield f"worker: thinks, goes on to {after.at} {after.end}", False, one.then(after)
    yield from _sees_deadline(one)


def _queued(one: _One) -> Moves:
    yield _called(one, one.worker)


def _called(one: _One, worker: Worker) -> Move[State]:
    after = one.then(worker._replace(at="body"))
    step, record = worker.body, one.state.record
    if record.journal & step:
        after = after._replace(broken=f"step {STEPS[step]} is called although its result is recorded")
    elif worker.journal & ~record.journal:
        after = after._replace(broken=f"step {STEPS[step]} is called before what led to it is recorded")
    return f"worker: calls step {STEPS[step]}", False, after


def _body(one: _One) -> Moves:
    state, worker, rules = one.state, one.worker, one.rules
    after = body_ended(worker, state.record.inbox, rules)
    name = f"worker: step {STEPS[worker.body]} ends, "
    if after.at == "call":  # only with a mechanism off: what a step has brought is recorded first
        yield _called(one, after)
    else:
        yield name + f"goes on to {after.at} {after.end}", False, one.then(after)
    if worker.holds and len(state.record.inbox) > worker.seen:
        yield "worker: hears of news", False, one.then(worker._replace(at="commit", end=""))
    if not worker.holds:
        yield "worker: hears that its lease is lost", False, one.then(DONE)
    yield from _sees_deadline(one)


def _sees_deadline(one: _One) -> Moves:
    if one.state.record.late and not one.worker.end:
        failing = one.worker._replace(at="commit", end="fail", body=0)
        yield "worker: sees that the deadline has passed", False, one.then(failing)


def _commit(one: _One) -> Moves:
    state, worker, rules = one.state, one.worker, one.rules
    if worker.answer and rules.off is not Off.REPEATED_COMMIT:
        trusted = worker.trusted or rules.off is Off.TRUST_FROM_ASKING
        yield "worker: commit, once more", False, one.then(_told(worker._replace(trusted=trusted), state.record))
        return
    if not worker.holds and (rules.off is not Off.FENCE or state.record.terminal):
        lost = one.then(DONE)
        if worker.answer:
            lost = lost._replace(broken="a turn is told that its lease is lost, by a commit that was accepted")
        yield "worker: commit finds the lease lost", False, lost
        return
    yield from _accepted(one)


def _accepted(one: _One) -> Moves:
    state, worker, rules = one.state, one.worker, one.rules
    brings = asked(worker)
    record, released = store.commit(state.record, brings, rules)
    twice = brings.entries & state.record.journal
    accepted = one.others(answer="", holds=False, held_last=False) if released else one.others(answer="")
    mine = worker._replace(
        holds=worker.holds and not released,
        trusted=not released,
        answer="released" if released else "kept",
        passed=record.passed & (SLEEP | WAIT),
    )
    answered, unanswered = accepted.then(_told(mine, record), record), accepted.then(mine, record)
    if twice:
        answered = answered._replace(broken="a result is recorded twice")
    name = f"worker: commit of {brings.entries:#b} {brings.end}{'' if released or not brings.end else ' (refused)'}"
    yield from answers(name, answered, unanswered)


def _told(worker: Worker, record: Record) -> Worker:
    """A worker that has heard what became of its commit."""
    if worker.answer == "released":
        return DONE
    return worker._replace(at="think", answer="", unwritten=0, seen=len(record.inbox), waits=record.waits)


def _release(one: _One) -> Moves:
    state, worker, rules = one.state, one.worker, one.rules
    if not worker.holds:
        yield "worker: has nothing to hand back", False, one.then(DONE)
        return
    record = store.release(state.record, rules)
    released = one.others(held_last=False)
    answered, unanswered = released.then(Worker(at="publish"), record), released.then(DONE, record)
    yield from answers("worker: release", answered, unanswered)


def _publish(one: _One) -> Moves:
    yield "worker: publish, and leaves", False, published(one.then(DONE), one.rules)


#: Where a turn is under way, and its lease in the keeper's hands.
_IN_TURN = frozenset({"think", "queued", "body", "commit"})
_AT: dict[str, Callable[[_One], Moves]] = {
    "claim": _claim,
    "think": _think,
    "queued": _queued,
    "body": _body,
    "commit": _commit,
    "release": _release,
    "publish": _publish,
}
