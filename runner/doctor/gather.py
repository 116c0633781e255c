"""Asking store and broker how they are. What cannot be reached is a fact too; everything else is still looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runner.broker import Broker
from runner.doctor.facts import Alarms, BrokerFacts, StoreFacts
from runner.doctor.management import alarms_at
from runner.errors import BrokerUnavailable, RunnerError, StoreUnavailable
from runner.fleet import heard_of
from runner.store import Store


async def gather(
    store: Store, broker: Broker | None, queues: Sequence[str], management: str = ""
) -> tuple[StoreFacts | str, BrokerFacts | str | None]:
    """Both are asked, whatever the other says; neither has to be open before (a broker is asked on connections of its own)."""
    found = await _ask_store(store)
    served = {queue for worker in found.workers for queue in worker.queues} if isinstance(found, StoreFacts) else set()
    ready = set(found.backlog) if isinstance(found, StoreFacts) else set()
    if broker is None:
        return found, None
    return found, await _ask_broker(broker, sorted({*queues, *served, *ready}), management)


async def _ask_store(store: Store) -> StoreFacts | str:
    try:
        await store.open()
        vitals, losses, backlog, leader, workers, laid_out = await asyncio.gather(
            store.vitals(), store.losses(), store.backlog(), store.leader(), heard_of(store), store.laid_out()
        )
    except StoreUnavailable as error:
        return str(error)
    return StoreFacts(
        vitals=vitals,
        losses=losses,
        leader=leader.leader if leader else "",
        workers=tuple(workers),
        backlog=dict(backlog),
        laid_out=laid_out,
    )


async def _ask_broker(broker: Broker, queues: Sequence[str], management: str) -> BrokerFacts | str:
    try:
        vitals = await broker.vitals(queues)
        taken = await broker.takes_messages()
    except BrokerUnavailable as error:
        return str(error)
    return BrokerFacts(vitals=vitals, takes_messages=taken, alarms=await _alarms(management) if management else None)


async def _alarms(url: str) -> Alarms | str:
    try:
        return await asyncio.to_thread(alarms_at, url)
    except RunnerError as error:
        return str(error)
