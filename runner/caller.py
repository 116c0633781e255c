"""What everything that acts on executions shares: finding a workflow, and saying what has changed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from runner.broker import Broker
from runner.courier import Courier
from runner.errors import BrokerUnavailable, UnknownWorkflow
from runner.fleet import workers_of
from runner.handle import Handle
from runner.log import Logger
from runner.messages import Hint
from runner.reader import Reader
from runner.starts import named_only
from runner.transactions import Delivered, Operated, Started
from runner.workflow import Workflow

log = Logger("runner.client")


class Caller(Reader, ABC):
    """What the acting halves of a Client stand on."""

    broker: Broker
    _courier: Courier

    @abstractmethod
    def handle(self, execution_id: str, workflow: Any = None) -> Handle[Any]:
        """A handle on an execution started elsewhere."""

    async def announce(self, *answers: Started | Delivered | Operated) -> None:
        """What follows a change: hints for the workers, parcels taken to their places, rows told to observers.

        What fails is left to the store's ready entries and its outbox: nothing is lost.
        """
        self.app.hooks.fire(row for answer in answers for row in answer.rows)
        hints = [(answer.wake.queue, answer.wake.hint) for answer in answers if answer.wake is not None]
        parcels = [parcel for answer in answers for parcel in answer.parcels]
        await asyncio.gather(self._publish(hints), self._courier.send(parcels))

    async def _publish(self, hints: Sequence[tuple[str, Hint]]) -> None:
        if not hints:
            return
        try:
            await self.broker.publish_many(hints)
        except BrokerUnavailable as error:
            log.warning("hint.left_to_outbox", hints=len(hints), error=str(error))

    async def _definition(self, workflow: Workflow[Any, Any] | str) -> Workflow[Any, Any]:
        if not isinstance(workflow, str):
            return workflow
        known = self.app.find(workflow)
        return known if known is not None else await self._from_workers(workflow)

    async def _from_workers(self, name: str) -> Workflow[Any, Any]:
        """A workflow this process does not have: the highest version that a live worker knows."""
        workers = await workers_of(self.store)
        served = {one for worker in workers for one in worker.workflows}
        matching = [(version, queue) for known, version, queue in served if known == name]
        if not matching:
            known = sorted({known for known, _, _ in served})
            raise UnknownWorkflow(
                f"no workflow {name!r} in app {self.app.name!r}, nor known to a live worker "
                f"({len(workers)} alive, they know: {', '.join(known) or 'nothing'})"
            )
        version, queue = max(matching)
        return named_only(name, version, queue)
