"""The world at one moment: the record, everybody who may change it, and the faults that may still strike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.explore import Move
from tests.model.record import Record
from tests.model.rules import Faults, Off, Rules
from tests.model.turn import Worker

#: More hints than this in the queue are as good as this many.
QUEUE = 2


class State(NamedTuple):
    record: Record
    workers: tuple[Worker, ...]  # those with a hint in their hands, sorted: they are interchangeable
    queue: int  # hints in it; they are all alike
    producer: str  # ask | publish | done
    signaller: str  # ask | publish | done
    canceller: str  # ask | publish | done
    scheduler: str  # idle | publish
    late_claim: bool  # a claim of a worker that died is still on its way
    faults: Faults  # left
    broken: str = ""  # what has gone wrong on the way, and is not to be seen in the state


Moves = Iterator[Move[State]]


def first(rules: Rules, faults: Faults) -> State:
    return State(
        record=Record(),
        workers=(),
        queue=0,
        producer="ask",
        signaller="ask",
        canceller="ask" if rules.variant.cancel else "done",
        scheduler="idle",
        late_claim=False,
        faults=faults,
    )


def spent(state: State, kind: str) -> State:
    """A fault has struck."""
    faults = state.faults
    return state._replace(faults=faults._replace(**{kind: getattr(faults, kind) - 1}))


def one_more(queue: int) -> int:
    return min(queue + 1, QUEUE)


def published(state: State, rules: Rules) -> State:
    """A hint is in the queue, and its publisher knows it."""
    record = state.record
    if rules.off is Off.READY_UNTIL_CLAIMED:
        record = record._replace(ready=False)
    return state._replace(queue=one_more(state.queue), record=record)


def answers(name: str, answered: State, unanswered: State) -> Moves:
    """The store has done what it was asked: with its answer, or with the answer lost."""
    yield name, False, answered
    if unanswered.faults.reply:
        yield f"{name}, its answer is lost", True, spent(unanswered, "reply")


def in_order(workers: tuple[Worker, ...]) -> tuple[Worker, ...]:
    return tuple(sorted(workers)) if len(workers) > 1 else workers


def disowned(state: State) -> State:
    """The lease is over: whoever had it held the last one."""
    workers = tuple(one._replace(holds=False, held_last=one.holds and one.at == "claim") for one in state.workers)
    return state._replace(workers=in_order(workers))
