"""Is this worker deaf? A subscription can be alive for every library on the way, and bring nothing."""

from __future__ import annotations

import asyncio
from enum import Enum

from runner.broker import Broker
from runner.errors import BrokerUnavailable
from runner.log import Logger
from runner.workers.intake import Intake
from runner.workers.unwell import EXIT_DEAF, Leave

log = Logger("runner.worker")

#: Seconds between two looks, and for the answer to one.
EVERY_S, ANSWER_S = 10.0, 5.0


class Verdict(Enum):
    WELL = "well"
    RENEW = "renew"  # a new connection, channel and subscription
    LEAVE = "leave"  # a new process


#: So many looks in a row that found it deaf: one may be chance, and a new session has time to prove itself.
RENEW_EVERY, LEAVE_EVERY = 2, 6


def verdict(deaf_looks: int) -> Verdict:
    """What follows from so many looks in a row that found hints waiting, room for them here, and none brought.

    There is no last one: a worker whose process is not its own cannot leave, and must go on trying.
    """
    if deaf_looks % LEAVE_EVERY == 0:
        return Verdict.LEAVE
    return Verdict.RENEW if deaf_looks % RENEW_EVERY == 0 else Verdict.WELL


class Hearing:
    """Looks from time to time whether the broker holds hints that it should have handed to us.

    ``room_for`` a queue and nothing taken from it since the last look, while hints wait in it: then we are deaf to it,
    whatever the session says of itself.
    """

    def __init__(self, intake: Intake, broker: Broker, leave: Leave, *, every_s: float = EVERY_S) -> None:
        self._intake = intake
        self._broker = broker
        self._leave = leave
        self._every_s = every_s
        self._taken: dict[str, int] = {}
        self._deaf_looks: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            for queue in self._intake.queues:
                await self._look(queue)

    async def _look(self, queue: str) -> None:
        taken, before = self._intake.taken[queue], self._taken.get(queue)
        self._taken[queue] = taken
        silent = taken == before and self._intake.room_for(queue)
        if silent and await self._waits(queue) and self._intake.taken[queue] == taken:
            self._deaf_looks[queue] = self._deaf_looks.get(queue, 0) + 1
            await self._act(queue, self._deaf_looks[queue])
        else:
            self._deaf_looks.pop(queue, None)

    async def _waits(self, queue: str) -> bool:
        """A broker that does not answer is away, and that is not ours to mend."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return bool(await self._broker.depth(queue))
        except (BrokerUnavailable, TimeoutError):
            return False

    async def _act(self, queue: str, looks: int) -> None:
        log.warning("worker.deaf", queue=queue, looks=looks)
        match verdict(looks):
            case Verdict.RENEW:
                await self._intake.renew(f"hints wait in queue {queue!r}, and none was brought")
            case Verdict.LEAVE:
                log.error("worker.stays_deaf", queue=queue, looks=looks)
                self._leave(EXIT_DEAF, f"deaf to queue {queue!r}")
            case Verdict.WELL:
                pass
