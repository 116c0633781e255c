"""Starting, idempotency, waiting for results and bad input, on both backends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from runner import (
    App,
    Client,
    ConflictingStart,
    Context,
    ExecutionFailed,
    PayloadError,
    PayloadTooLarge,
    Signal,
    Status,
    UnknownExecution,
    UnknownWorkflow,
    UsageError,
)
from tests.integration.conftest import Backend, Run

payload = Signal[Any]("payload")


@dataclass(frozen=True)
class Order:
    id: str
    amount: int


async def test_one_key_is_one_execution_whoever_starts(app: App, run: Run) -> None:
    ran: list[int] = []

    @app.workflow("flow")
    async def flow(ctx: Context, order: Order) -> int:
        await ctx.step("ran", lambda: ran.append(1))
        return order.amount

    async with run(app) as fleet:
        starts = [fleet.client.start(flow, Order("7", 1), idempotency_key="order-7") for _ in range(50)]
        handles = await asyncio.gather(*starts)
        assert len({handle.id for handle in handles}) == 1
        assert await handles[0].result(timeout=20) == 1
        again = await fleet.client.start(flow, Order("7", 1), idempotency_key="order-7")
        assert await again.result(timeout=5) == 1
        with pytest.raises(ConflictingStart) as conflict:
            await fleet.client.start(flow, Order("7", 2), idempotency_key="order-7")
        assert conflict.value.execution_id == again.id and "order-7" in str(conflict.value)
        with pytest.raises(ConflictingStart):
            await fleet.client.start(flow, Order("7", 1), idempotency_key="order-7", on_conflict="raise")
    assert ran == [1]


async def test_start_many_keeps_the_order_and_repeats_by_key(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context, number: int) -> int:
        return number * 2

    async with run(app) as fleet:
        keys = [str(number) for number in range(450)]
        handles = await fleet.client.start_many(flow, range(450), idempotency_keys=keys)
        again = await fleet.client.start_many(flow, range(450), idempotency_keys=keys)
        assert [handle.id for handle in handles] == [handle.id for handle in again]
        results = await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
    assert results == [number * 2 for number in range(450)]


async def test_start_and_wait(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context, order: Order) -> Order:
        return order

    async with run(app) as fleet:
        outcome = await fleet.client.start_and_wait(flow, Order("1", 2), wait_timeout=20)
        assert outcome.data == Order("1", 2)
        assert await fleet.client.wait(outcome.execution_id, timeout=5) == Order("1", 2)


async def test_delayed_start(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> float:
        return ctx.now().timestamp()

    async with run(app) as fleet:
        asked = (await fleet.store.now()) / 1000
        handle = await fleet.client.start(flow, delay=0.5)
        assert await handle.status() == Status.PENDING
        assert await handle.result(timeout=20) >= asked + 0.5
        at = datetime.fromtimestamp(await fleet.store.now() / 1000, UTC) + timedelta(seconds=0.3)
        assert await (await fleet.client.start(flow, at=at)).result(timeout=20) >= at.timestamp()


async def test_a_service_without_the_code_starts_and_signals_by_name(app: App, run: Run, backend: Backend) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context, order: Order) -> int:
        return order.amount

    async with run(app) as fleet, Client(app.name, fleet.store, fleet.broker) as service:
        handle = await service.start("flow", {"id": "7", "amount": 3})
        assert await handle.result(timeout=20) == 3
        with pytest.raises(UnknownWorkflow, match="'nothing'"):
            await service.start("nothing")


async def test_a_bad_input_by_name_ends_only_that_execution(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context, order: Order) -> int:
        return order.amount

    async with run(app) as fleet, Client(app.name, fleet.store, fleet.broker) as service:
        bad = await service.start("flow", {"id": "7"})
        with pytest.raises(ExecutionFailed, match="amount"):
            await bad.result(timeout=20)
        assert await (await service.start("flow", {"id": "7", "amount": 1})).result(timeout=20) == 1


VALUES: list[Any] = [
    None,
    {"empty": [], "nested": [[], {}, [[]]], "big": 2**63, "huge": -(2**80), "float": 0.1, "bytes": b"\x00\xff"},
    [datetime(2026, 11, 23, 4, 5, 6, 789, tzinfo=UTC), timedelta(seconds=1.5), Decimal("1.10"), "é\u2028\U0001f600"],
    (1, (2, ()), {"set": {1, 2}}, {1: "int key", (1, 2): "tuple key"}),
]


@pytest.mark.parametrize("value", VALUES)
async def test_values_come_back_equal_in_value_and_type_on_every_path(app: App, run: Run, value: Any) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context, given: Any) -> Any:
        stepped = await ctx.step("same", lambda item: item, given)
        return [given, stepped, await ctx.wait_for_signal(payload)]

    async with run(app) as fleet:
        handle = await fleet.client.start(flow, value)
        await handle.signal(payload, value)
        result = await handle.result(timeout=20)
    assert result == [value, value, value]
    assert all(type(one) is type(value) for one in result)
    assert repr(result[1]) == repr(value)


def refusals() -> list[tuple[str, Callable[[Client, Any], Any], type[Exception], str]]:
    return [
        ("unknown workflow", lambda c, f: c.start("nobody"), UnknownWorkflow, "nobody"),
        ("unpackable", lambda c, f: c.start(f, {"items": [{"price": object()}]}), PayloadError, r"items.*price"),
        ("too large", lambda c, f: c.start(f, "x" * (1024 * 1024 + 1)), PayloadTooLarge, "1048576|1 MiB|1,048,576"),
        ("bad id", lambda c, f: c.start(f, 1, id="a{b}"), UsageError, "a{b}"),
        ("id and key", lambda c, f: c.start(f, 1, id="a", idempotency_key="b"), UsageError, "not both"),
        ("delay and at", lambda c, f: c.start(f, 1, delay=1, at=datetime.now(UTC)), UsageError, "not both"),
        ("naive moment", lambda c, f: c.start(f, 1, at=datetime(2026, 1, 1)), UsageError, "time zone"),  # noqa: DTZ001
        ("negative delay", lambda c, f: c.start(f, 1, delay=-1), UsageError, "delay"),
        ("unknown id", lambda c, f: c.wait("nobody"), UnknownExecution, "nobody"),
        ("bad status", lambda c, f: c.executions(status="lost"), UsageError, "lost"),
    ]


@pytest.mark.parametrize(("call", "error", "said"), [row[1:] for row in refusals()], ids=[row[0] for row in refusals()])
async def test_bad_input_is_refused_by_name_and_nothing_is_stored(
    app: App, run: Run, call: Any, error: type[Exception], said: str
) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context, value: Any) -> None: ...

    async with run(app, workers=0, scheduler=False) as fleet:
        with pytest.raises(error, match=said):
            await call(fleet.client, flow)
        assert (await fleet.client.executions()).executions == ()


async def test_listing_newest_first_with_filters_and_pages(app: App, run: Run) -> None:
    @app.workflow("a")
    async def a(ctx: Context, number: int) -> int:
        return number

    @app.workflow("b")
    async def b(ctx: Context, number: int) -> int:
        raise ValueError(number)

    b_failed = app.get("b")
    async with run(app) as fleet:
        first = [await fleet.client.start(a, number) for number in range(3)]
        other = await fleet.client.start(b_failed, 1, timeout=30)
        for handle in first:
            await handle.result(timeout=20)
        page = await fleet.client.executions(workflow="a", limit=2)
        assert [one.id for one in page.executions] == [first[2].id, first[1].id]
        rest = await fleet.client.executions(workflow="a", limit=2, cursor=page.cursor)
        assert [one.id for one in rest.executions] == [first[0].id] and rest.cursor is None
        assert len((await fleet.client.executions(status="completed")).executions) == 3
        with pytest.raises(ExecutionFailed):
            await other.result(timeout=20)
        assert [one.id for one in (await fleet.client.executions(status="failed")).executions] == [other.id]
