"""Processes of ours that die, or stand still, at one call: before or after the n-th of a named method.

RUNNER_TEST_CRASH=record:after:2:kill python -m tests.faults.crashing worker --app tests.faults.program:app
RUNNER_TEST_CRASH=start:before:1:kill python -m tests.faults.crashing produce order 7

The methods are wrapped in the launched process alone: there are no hooks for this in what is tested. Its clock may be
wrong beside that: see ``clocks``.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from runner.broker.handling import HintDelivery
from runner.broker.rabbitmq import RabbitBroker
from runner.cli import main as runner_main
from runner.client import Client
from runner.courier import Courier
from runner.scheduler import Scheduler
from runner.store.redis import RedisStore
from runner.transactions import Commit, Complete, Suspend
from runner.workers import Worker
from runner.workers.steps import StepRunner
from tests.e2e import ledger
from tests.faults.clocks import shift_as_told

#: What a process ends with that leaves by itself.
LEFT = 70
LOADED = (Client, Scheduler, Worker, runner_main)  # by whoever forks: a process is there at once

When = Callable[..., bool]


@dataclass(frozen=True)
class Place:
    """A method, and which of its calls count: ``counts`` is given their arguments."""

    owner: type
    method: str
    counts: When = lambda *_, **__: True


def _commit(asked: Callable[[Commit], object]) -> Place:
    return Place(RedisStore, "commit", lambda _, commit: bool(asked(commit)))


PLACES: Mapping[str, Place] = {
    **{
        name: Place(RedisStore, name)
        for name in ("start", "claim", "commit", "release", "deliver", "follow", "due", "reap", "overdue", "relay")
    },
    **{name: Place(RedisStore, name) for name in ("relayed", "lead", "put_schedules")},
    "record": _commit(lambda commit: commit.entries),
    "suspend": _commit(lambda commit: isinstance(commit.end, Suspend)),
    "adopt": _commit(lambda commit: commit.children),
    "complete": _commit(lambda commit: isinstance(commit.end, Complete)),
    "publish": Place(RabbitBroker, "publish"),
    "publish_many": Place(RabbitBroker, "publish_many"),
    "ack": Place(HintDelivery, "ack"),
    "perform": Place(StepRunner, "perform"),
    "send": Place(Courier, "send"),
}


@dataclass(frozen=True)
class Point:
    """Where, at which call, and how: ``record:after:2:kill``."""

    place: str
    moment: str
    call: int
    how: str

    @classmethod
    def parse(cls, text: str) -> Point:
        place, moment, call, how = text.split(":")
        assert place in PLACES and moment in ("before", "after") and how in ENDS, text
        return cls(place, moment, int(call), how)

    def arm(self) -> None:
        """From here on, this process does not get past it."""
        place = PLACES[self.place]
        original = getattr(place.owner, place.method)
        calls = 0

        @wraps(original)
        async def struck(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += place.counts(*arguments, **named)
            mine = calls == self.call and place.counts(*arguments, **named)
            if mine and self.moment == "before":
                self.strike()
            answer = await original(*arguments, **named)
            if mine and self.moment == "after":
                self.strike()
            return answer

        setattr(place.owner, place.method, struck)

    def strike(self) -> None:
        ledger.write(os.environ["RUNNER_TEST_LEDGER"], kind="struck", point=str(self))
        ENDS[self.how]()

    def __str__(self) -> str:
        return f"{self.place}:{self.moment}:{self.call}:{self.how}"


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # it never comes to that


ENDS: Mapping[str, Callable[[], None]] = {
    "kill": _kill,
    "exit": lambda: os._exit(LEFT),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


def main(arguments: list[str]) -> None:
    shift_as_told()
    if point := os.environ.get("RUNNER_TEST_CRASH"):
        Point.parse(point).arm()
    if arguments[0] == "produce":
        asyncio.run(_produce(arguments[1], int(arguments[2])))
    else:
        runner_main(arguments)


async def _produce(workflow: str, number: int) -> None:
    from tests.faults import producer, program

    async with Client(program.app) as client:
        if workflow == "order":
            await producer.Ordering(client, number, random.Random(number)).carry_out()
        else:
            await client.start(program.parcel, program.Order(number), id=f"parcel-{number}")


# -- as children of a process that has loaded everything --------------------------------------------


_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


class Crashing:
    """A process of this module, with its log."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._given = (arguments, dict(environment), str(log))
        self.log = log
        self.start()

    def start(self) -> None:
        """For the first time, or again."""
        self._process: BaseProcess = _CONTEXT.Process(target=_child, args=self._given)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        return self._process.exitcode

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def leave(self) -> None:
        self._process.terminate()

    def end(self) -> None:
        if self.code is None:
            self.go_on()
            self._process.kill()
        self._process.join()

    def told(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@contextmanager
def crashing(*arguments: str, environment: Mapping[str, str], log: Path) -> Iterator[Crashing]:
    """As ``main`` with these arguments, in a process of its own that is gone in the end."""
    one = Crashing(list(arguments), environment, log)
    try:
        yield one
    finally:
        one.end()


def _child(arguments: list[str], environment: dict[str, str], log: str) -> None:
    os.environ |= environment
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for output in (1, 2):
        os.dup2(descriptor, output)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
