"""What `runner dev` tells of its executions: each change once, whoever brought it about."""

from __future__ import annotations

import asyncio

import pytest

from runner.cli.observed import ObservedStore
from runner.codec import encode
from runner.failures import Failure
from runner.store import partition_of
from runner.transactions import (
    Commit,
    Complete,
    Deliver,
    RetryAttempt,
    Start,
    Suspend,
)

ERROR = Failure.of(ValueError("x"), known={}).pack()


class Told:
    """A store and what it told, as `before -> status`."""

    def __init__(self, store: ObservedStore, lines: list[str]) -> None:
        self.store = store
        self.lines = lines

    async def start(self, **options) -> None:
        await self.store.start(
            [
                Start(
                    id="x",
                    request="r",
                    workflow="flow",
                    version=1,
                    queue="default",
                    input=encode(None),
                    digest="d",
                    **options,
                )
            ]
        )

    async def commit(self, end) -> None:
        await self.store.commit(Commit(id="x", nonce="n", count=1, lease_ms=10_000, seen=0, end=end))

    async def due(self):
        return await self.store.due(partition_of("x", self.store.partitions), 100)


@pytest.fixture
async def told(tmp_path):
    lines: list[str] = []
    store = ObservedStore(
        str(tmp_path / "state.db"),
        namespace="shop",
        told=lambda change: lines.append(f"{change.before or 'new'} -> {change.status}"),
    )
    await store.open()
    yield Told(store, lines)
    await store.close()


async def test_a_whole_life(told):
    await told.start()
    await told.start()
    await told.store.claim("x", "n", "w", 10_000)
    await told.commit(Suspend())
    assert told.lines == ["new -> pending", "pending -> running", "running -> sleeping"]


async def test_an_end_is_told_once(told):
    await told.start()
    await told.store.claim("x", "n", "w", 10_000)
    await told.commit(Complete(result=encode(1)))
    await told.commit(Complete(result=encode(1)))
    await told.store.claim("x", "m", "w", 10_000)
    assert told.lines[2:] == ["running -> completed"]


async def test_a_retry_and_a_release(told):
    await told.start()
    await told.store.claim("x", "n", "w", 10_000)
    await told.commit(RetryAttempt(after_ms=0, error=ERROR))
    await told.due()
    await told.store.claim("x", "m", "w", 10_000)
    await told.store.release("x", "m")
    assert told.lines[2:] == ["running -> retrying", "retrying -> running", "running -> pending"]


async def test_a_cancel(told):
    await told.start()
    await told.store.deliver(Deliver(id="x", request="c", kind="cancel", name="", payload=encode("")))
    assert told.lines == ["new -> pending", "pending -> cancelled"]


async def test_an_end_that_only_time_brought_about(told):
    """Its deadline passes while nobody has it: no call names it."""
    await told.start(timeout_ms=1)
    async with asyncio.timeout(20):
        while len(told.lines) < 2:
            await told.due()
    assert told.lines == ["new -> pending", "pending -> failed"]


async def test_an_end_found_by_a_claim(told):
    await told.start(timeout_ms=1)
    await asyncio.sleep(0.01)
    await told.store.claim("x", "n", "w", 10_000)
    assert told.lines == ["new -> pending", "pending -> failed"]


async def test_a_lease_that_was_taken_away(told):
    await told.start()
    await told.store.claim("x", "n", "w", 1)
    await asyncio.sleep(0.01)
    await told.store.reap(partition_of("x", told.store.partitions), 100, [])
    assert told.lines[2:] == ["running -> pending"]


async def test_what_goes_on_from_before_is_told_on_opening(told, tmp_path):
    await told.start()
    await told.store.close()
    seen = []
    again = ObservedStore(str(tmp_path / "state.db"), namespace="shop", told=seen.append)
    await again.open()
    await again.close()
    assert [(change.id, change.before, change.status) for change in seen] == [("x", None, "pending")]
