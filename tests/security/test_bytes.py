"""Bytes from whoever can write to the broker or the store: bounded before they are read, and nobody else is harmed."""

from __future__ import annotations

import asyncio
import json
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from aiormq import spec
from aiormq.abc import AbstractChannel
from redis.asyncio import Redis

from runner import App, Client, Context, Signal
from runner.broker.factory import open_broker
from runner.broker.rabbitmq import RabbitBroker
from runner.cli.values import MAX_TEXT, read_json
from runner.codec import MAX_PAYLOAD
from runner.codec.limits import MAX_NODES
from runner.errors import PayloadError, UsageError
from runner.history_file import read_history
from runner.messages import Emission, Hint, MalformedHint
from runner.records import AuditEntry, Entry, Notice, Schedule, Status, unpack_tries
from runner.scheduler import Scheduler, SchedulerOptions
from runner.step import StepState
from runner.store.factory import open_store
from runner.store.keys import Keys
from runner.store.redis import stored
from runner.transactions import Follow, Start
from runner.workers import Worker, WorkerOptions

MB = MAX_PAYLOAD

BOMBS = {
    "a megabyte of empty arrays": b"\xdd" + struct.pack(">I", MB - 5) + b"\x90" * (MB - 5),
    "a megabyte of empty maps": b"\xdd" + struct.pack(">I", MB - 5) + b"\x80" * (MB - 5),
    "a hundred thousand levels": b"\x91" * (MAX_NODES + 1) + b"\xc0",
    "two thousand levels": b"\x91" * 2_000 + b"\xc0",
    "an array of four thousand million": b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1_000,
    "a map of four thousand million": b"\xdf\xff\xff\xff\xff" + b"\xc0" * 1_000,
    "a text of four gigabytes": b"\xdb\xff\xff\xff\xff" + b"x" * 1_000,
    "an extension": msgpack.packb([msgpack.ExtType(1, b"t")] * 12),
    "a moment": msgpack.packb([msgpack.Timestamp(1)] * 12),
    "numbers as keys": b"\x81\x01\x02",
    "no list": msgpack.packb("text"),
    "a short list": msgpack.packb([1, 2]),
    "nothing at all": b"\xc1",
    "cut off": msgpack.packb([1, "a", "b", "c", b"", 1, 1, 1, 1, b""])[:-3],
}

READERS: dict[str, Callable[[bytes], object]] = {
    "entry": Entry.unpack,
    "notice": Notice.unpack,
    "audit row": lambda blob: AuditEntry.unpack("x", blob),
    "state of a step": StepState.unpack,
    "start": Start.unpack,
    "follow": Follow.unpack,
    "event": Emission.unpack,
    "worker": lambda blob: stored.worker(b"1 " + blob),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_no_record_of_ours_goes_off(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        for read in READERS.values():
            with pytest.raises(PayloadError):
                read(bomb)
        with pytest.raises(MalformedHint):
            Hint.decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 10 * MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "name", ["a megabyte of empty arrays", "a hundred thousand levels", "an extension", "nothing at all"]
)
def test_records_of_other_forms_do_not_go_off_either(name: str) -> None:
    for read in (Schedule.unpack, unpack_tries):
        with pytest.raises(PayloadError):
            read(BOMBS[name])


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000, '"' + "x" * MAX_TEXT + '"'],
    ids=["deep lists", "deep objects", "a number without end", "a text without end"],
)
def test_json_of_the_command_line_is_refused_in_words(text: str, tmp_path: Any) -> None:
    with pytest.raises(UsageError, match="input"):
        read_json(text, what="input")
    (tmp_path / "input.json").write_text(text)
    with pytest.raises(UsageError, match="input"):
        read_json(f"@{tmp_path}/input.json", what="input")


def test_a_device_is_read_no_further_than_the_limit() -> None:
    with pytest.raises(UsageError, match="input"):
        read_json("@/dev/zero", what="input")


def test_a_history_file_is_refused_in_words() -> None:
    for text in ("[" * 100_000, json.dumps({"format": "runner-history", "version": 1, "execution": {"run": 10**30}})):
        with pytest.raises(UsageError, match="no history file"):
            read_history(text)


# -- messages --------------------------------------------------------------------------------------------------------


class Absurd(datetime):
    """A moment no calendar holds: 2**64 - 1 seconds. Whoever receives it loses the connection."""

    def timestamp(self) -> float:
        return 2**64 - 1


def nested(levels: int) -> dict[str, Any]:
    headers: dict[str, Any] = {"x": 1}
    for _ in range(levels):
        headers = {"x": headers}
    return headers


HOSTILE: dict[str, tuple[bytes, dict[str, Any]]] = {
    "headers 128 deep": (b"\x01", {"headers": nested(128)}),
    "our own headers, wrong": (b"", {"headers": {"x-runner-event": {"a": 1}, "x-delivery-count": "many"}}),
    "every property": (
        b"[]",
        {"priority": 255, "message_id": "\x1b[2J\n", "content_type": "application/x-python-serialize", "app_id": "x"},
    ),
    "a megabyte": (BOMBS["a megabyte of empty arrays"], {}),
    "a hint of a later version": (msgpack.packb([99, "e", "w", 1, 1]), {}),
    "a hint whose id is a key": (Hint("{x}:1}:x:", "quick", 1, 2**63).encode(), {}),
}


async def publish_hostile(channel: AbstractChannel, queue: str) -> None:
    for body, properties in HOSTILE.values():
        await channel.basic_publish(body, routing_key=queue, properties=spec.Basic.Properties(**properties))
    poison = spec.Basic.Properties(timestamp=Absurd.now(UTC))
    await channel.basic_publish(b"poison", routing_key=queue, properties=poison)


async def test_hostile_messages_end_in_the_dead_letters_and_innocents_complete(
    redis_url: str, rabbit_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them kills every connection that it is delivered to, and with it all deliveries beside it."""
    monkeypatch.setattr("runner.broker.topology.DELIVERY_LIMIT", 2)  # of its queue; twenty takes a minute
    app = App(namespace)

    @app.workflow("quick")
    async def quick(ctx: Context, number: int) -> int:
        return await ctx.step("same", abs, number)

    async with asyncio.timeout(100), AsyncExitStack() as stack:
        store, broker = open_store(redis_url, namespace=namespace), RabbitBroker(rabbit_url, namespace=namespace)
        await store.open()
        stack.push_async_callback(store.close)
        await broker.open(["default"])
        stack.push_async_callback(broker.close)
        async with broker._publisher._keeper.using("publish to") as link, link.spare() as channel:
            await publish_hostile(channel, f"runner.{namespace}.q.default")
        client = await stack.enter_async_context(Client(app, store, broker))
        handles = await client.start_many(quick, range(20))
        await stack.enter_async_context(Scheduler(store, broker, SchedulerOptions(leader_ttl_s=1.0)))
        options = WorkerOptions(watch_loop=False, grace_s=5, concurrency=50)
        await stack.enter_async_context(Worker(app, store, broker, options))
        assert [await handle.result(timeout=90) for handle in handles] == list(range(20))
        while await broker.depth("default"):
            await asyncio.sleep(0.05)
        letters = await broker.dead_letters(50)
        assert [letter for letter in letters if "cannot be read" in letter.reason or b"poison" in letter.body]


# -- records of somebody else ---------------------------------------------------------------------------------------------


async def test_a_record_that_was_tampered_with_harms_its_own_execution_and_says_so(
    redis_url: str, rabbit_url: str, namespace: str
) -> None:
    app, go = App(namespace), Signal[str]("go")

    @app.workflow("waiting")
    async def waiting(ctx: Context, text: str) -> str:
        return await ctx.step("shout", str.upper, text) + await ctx.wait_for_signal(go)

    async with asyncio.timeout(100), AsyncExitStack() as stack:
        store, broker = open_store(redis_url, namespace=namespace), open_broker(rabbit_url, namespace=namespace)
        await store.open()
        stack.push_async_callback(store.close)
        await broker.open(["default"])
        stack.push_async_callback(broker.close)
        client = await stack.enter_async_context(Client(app, store, broker))
        await stack.enter_async_context(Scheduler(store, broker, SchedulerOptions(leader_ttl_s=1.0)))
        await stack.enter_async_context(Worker(app, store, broker, WorkerOptions(watch_loop=False, grace_s=5)))
        harmed, well = await client.start(waiting, "a"), await client.start(waiting, "b")
        for handle in (harmed, well):
            while await handle.status() is not Status.SLEEPING:
                await asyncio.sleep(0.02)
        async with Redis.from_url(redis_url) as redis:
            await redis.hset(
                f"{Keys(namespace, 16).home(harmed.id)}j:{harmed.id}", "shout", BOMBS["a megabyte of empty arrays"]
            )
        await harmed.signal(go, "c")
        while not (record := await store.record(harmed.id)) or not record.passed:
            await asyncio.sleep(0.02)
        assert "entry: holds more than 100,000 values" in record.passed
        await well.signal(go, "d")
        assert await well.result(timeout=60) == "Bd"
        with pytest.raises(PayloadError, match="entry: holds more than"):
            await client.history(harmed.id)
