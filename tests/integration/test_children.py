"""Children on both backends: started with a commit, told of by notices, ended with their parent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runner import (
    App,
    Cancelled,
    Context,
    ExecutionCancelled,
    ExecutionFailed,
    Signal,
    Status,
    TimedOut,
    UnknownExecution,
    UsageError,
)
from tests.integration.conftest import Fleet, Run

go = Signal[str]("go")


async def until(fleet: Fleet, id: str, *statuses: Status) -> None:
    while (await fleet.client.execution(id)).status not in statuses:
        await asyncio.sleep(0.01)


async def until_known(fleet: Fleet, id: str) -> None:
    while await fleet.store.record(id) is None:
        await asyncio.sleep(0.01)


async def test_a_child_gives_its_result_whether_it_ends_before_during_or_after_the_wait(app: App, run: Run) -> None:
    @app.workflow("child")
    async def child(ctx: Context, nap: float) -> float:
        await ctx.sleep(nap)
        return nap

    @app.workflow("parent")
    async def parent(ctx: Context) -> list[Any]:
        early = await ctx.start_child("early", child, 0.0)
        late = await ctx.start_child("late", child, 0.4)
        await ctx.sleep(0.2)
        return [await early.result(), await late.result(), await ctx.run_child("whole", child, 0.01)]

    async with run(app) as fleet:
        handle = await fleet.client.start(parent)
        assert await handle.result(timeout=20) == [0.0, 0.4, 0.01]
        links = await fleet.store.children(handle.id)
    assert len(links) == 3 and all(link.ended for link in links)


async def test_a_failed_child_is_a_typed_error_that_names_it(app: App, run: Run) -> None:
    @app.error
    class Declined(Exception):
        pass

    @app.workflow("child", max_attempts=1)
    async def child(ctx: Context) -> None:
        raise Declined("no funds")

    @app.workflow("parent", max_attempts=1)
    async def parent(ctx: Context) -> list[Any]:
        started = await ctx.start_child("pay", child)
        try:
            await started.result()
        except ExecutionFailed as failed:
            cause = failed.__cause__
            known = isinstance(cause, Declined)
            return [failed.execution_id == started.id, failed.workflow, failed.attempt, known, str(cause)]
        return []

    async with run(app) as fleet:
        handle = await fleet.client.start(parent)
        assert await handle.result(timeout=20) == [True, "child", 1, True, "no funds"]


async def test_a_childs_failure_that_escapes_is_tried_again_with_another_child(app: App, run: Run) -> None:
    seen: list[str] = []

    @app.workflow("child", max_attempts=1)
    async def child(ctx: Context) -> str:
        seen.append(ctx.execution_id)
        if len(seen) == 1:
            raise ValueError("once")
        return "done"

    from runner import Retry

    @app.workflow("parent", max_attempts=2, retry=Retry(initial=0.05))
    async def parent(ctx: Context) -> str:
        return await ctx.run_child("child", child)

    async with run(app) as fleet:
        handle = await fleet.client.start(parent)
        assert await handle.result(timeout=20) == "done"
    assert len(set(seen)) == 2


async def test_a_wait_for_a_child_may_time_out_and_be_repeated(app: App, run: Run) -> None:
    @app.workflow("child")
    async def child(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    @app.workflow("parent")
    async def parent(ctx: Context) -> Any:
        started = await ctx.start_child("slow", child)
        first = await started.result(timeout=0.05)
        assert isinstance(first, TimedOut)
        await ctx.note("waiting on", child=started.id)
        return await started.result()

    async with run(app) as fleet:
        handle = await fleet.client.start(parent)
        (link,) = await links_of(fleet, handle.id)
        await until(fleet, handle.id, Status.SLEEPING)
        await asyncio.sleep(0.2)
        await fleet.client.signal(link, go, "now")
        assert await handle.result(timeout=20) == "now"


async def links_of(fleet: Fleet, id: str) -> list[str]:
    while not (links := await fleet.store.children(id)):
        await asyncio.sleep(0.01)
    for link in links:
        await until_known(fleet, link.execution_id)
    return [link.execution_id for link in links]


async def test_a_cancel_reaches_the_children_whose_policy_says_so(app: App, run: Run) -> None:
    @app.workflow("child")
    async def child(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    @app.workflow("parent")
    async def parent(ctx: Context) -> None:
        await ctx.start_child("follows", child)
        await ctx.start_child("stays", child, parent_close="abandon")
        await ctx.wait_for_signal(go)

    async with run(app) as fleet:
        handle = await fleet.client.start(parent)
        while len(links := await fleet.store.children(handle.id)) < 2:
            await asyncio.sleep(0.01)
        for link in links:
            await until_known(fleet, link.execution_id)
        await handle.cancel("enough")
        with pytest.raises(ExecutionCancelled):
            await handle.result(timeout=20)
        follows = next(link.execution_id for link in links if link.policy == "cancel")
        stays = next(link.execution_id for link in links if link.policy == "abandon")
        await until(fleet, follows, Status.CANCELLED)
        assert handle.id in (await fleet.client.execution(follows)).reason
        assert await fleet.client.signal(stays, go, "on")
        assert await fleet.client.wait(stays, timeout=20) == "on"


async def test_waiting_for_any_execution(app: App, run: Run) -> None:
    @app.workflow("other")
    async def other(ctx: Context, word: str) -> str:
        return await ctx.wait_for_signal(go) + word

    @app.workflow("waiter", max_attempts=1)
    async def waiter(ctx: Context, id: str) -> Any:
        return await ctx.wait_for_execution(other, id)

    @app.workflow("mistaken", max_attempts=1)
    async def mistaken(ctx: Context, id: str) -> Any:
        return await ctx.wait_for_execution(waiter, id)

    async with run(app) as fleet:
        target = await fleet.client.start(other, "!")
        waits = [await fleet.client.start(waiter, target.id) for _ in range(3)]
        for wait in waits:
            await until(fleet, wait.id, Status.SLEEPING)
        await target.signal(go, "hey")
        assert [await wait.result(timeout=20) for wait in waits] == ["hey!"] * 3
        late = await fleet.client.start(waiter, target.id)
        assert await late.result(timeout=20) == "hey!"
        unknown = await fleet.client.start(waiter, "nobody")
        with pytest.raises(ExecutionFailed, match="nobody") as failed:
            await unknown.result(timeout=20)
        assert failed.value.type.endswith(UnknownExecution.__name__)
        wrong = await fleet.client.start(mistaken, target.id)
        with pytest.raises(ExecutionFailed, match="of workflow 'other'"):
            await wrong.result(timeout=20)
        itself = await fleet.client.start(waiter, "me", id="me")
        with pytest.raises(ExecutionFailed, match="would wait for itself") as failed:
            await itself.result(timeout=20)
        assert failed.value.type.endswith(UsageError.__name__)


async def test_a_parent_cancelled_at_once_leaves_no_child_running(app: App, run: Run) -> None:
    ended: list[str] = []

    @app.workflow("child")
    async def child(ctx: Context) -> None:
        try:
            await ctx.wait_for_signal(go)
        except Cancelled:
            ended.append(ctx.execution_id)
            raise

    @app.workflow("parent")
    async def parent(ctx: Context) -> None:
        await ctx.run_child("child", child)

    async with run(app) as fleet:
        handles = await fleet.client.start_many(parent, [None] * 60)
        await asyncio.gather(*(handle.cancel() for handle in handles[::2]))
        await asyncio.sleep(0.1)
        await asyncio.gather(*(handle.cancel() for handle in handles[1::2]))
        for handle in handles:
            with pytest.raises(ExecutionCancelled):
                await handle.result(timeout=30)
        for handle in handles:
            for link in await fleet.store.children(handle.id):
                await until_known(fleet, link.execution_id)
                await until(fleet, link.execution_id, Status.CANCELLED)
