"""The operator: what a person does to an execution that needs one, on both pairs of backends."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from runner import (
    AlreadyEnded,
    App,
    ConflictingStart,
    Context,
    ExecutionFailed,
    NotRetryable,
    OperatorFailed,
    StoreConflict,
    UnknownExecution,
    UnknownStep,
    UsageError,
)
from runner.operator import MAX_LOOKS
from runner.records import Status
from runner.transactions import (
    Fail,
    FailCompensation,
    Open,
    Suspend,
)
from tests.integration.by_hand import claimed, done, failed, failure

pytestmark = pytest.mark.timeout(60)


def pay_and_ship(app: App) -> Counter[str]:
    """A workflow of three steps; what is counted is how often each was called. ``pay`` never succeeds."""
    calls: Counter[str] = Counter()

    async def reserve() -> str:
        calls["reserve"] += 1
        return "shelf 3"

    async def pay(shelf: str) -> int:
        calls["pay"] += 1
        raise RuntimeError("no luck")

    async def ship(paid: int) -> str:
        calls["ship"] += 1
        return f"shipped for {paid}"

    @app.workflow("order", max_attempts=1)
    async def order(ctx: Context) -> str:
        shelf = await ctx.step("reserve", reserve)
        paid = await ctx.step("pay", pay, shelf)
        return await ctx.step("ship", ship, paid)

    @app.workflow("nap")
    async def nap(ctx: Context) -> None:
        await ctx.sleep(timedelta(days=1), id="long")

    return calls


async def ended(handle) -> Status:
    with pytest.raises(ExecutionFailed):
        await handle.result(timeout=30)
    return await handle.status()


async def until(client, id: str, status: Status) -> None:
    while (await client.execution(id)).status is not status:
        await asyncio.sleep(0)


async def operations(client, id: str) -> list[tuple[str, str, str]]:
    """Who did what, by the audit trail."""
    lines = [line.fields for line in await client.audit(id) if line.kind == "operator"]
    return [(str(one["actor"]), str(one.get("verb", one.get("action"))), str(one.get("step", ""))) for one in lines]


# -- steps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["skip_step", "edit_step"])
async def test_a_failed_step_is_given_a_result_and_the_workflow_goes_on_with_it(run, app, verb):
    calls = pay_and_ship(app)
    async with run(app) as fleet:
        handle = await fleet.client.start("order")
        assert await ended(handle) is Status.FAILED
        operator = fleet.client.operator
        if verb == "skip_step":
            assert await operator.skip_step(handle.id, "pay", value=42, actor="ann") is Status.FAILED
        else:
            assert await operator.edit_step(handle.id, "pay", 42, actor="ann") is Status.FAILED
        assert await operator.retry(handle.id, actor="bob") is Status.PENDING
        assert await handle.result(timeout=30) == "shipped for 42"
        assert calls == {"reserve": 1, "pay": 1, "ship": 1}
        assert await operations(fleet.client, handle.id) == [("ann", verb, "pay"), ("bob", "retry", "")]


async def test_a_step_between_two_attempts_is_skipped_and_the_execution_woken(run, app):
    pay_and_ship(app)
    async with run(app, workers=0, scheduler=False) as fleet:
        handle = await fleet.client.start("order")
        turn = await claimed(fleet.store, handle.id)
        pause = Open(id="pay", kind="step", name="RuntimeError: no luck", after_ms=3_600_000, attempts=2)
        await turn.commit(entries=(done(1, "reserve", "shelf 3"),), opens=(pause,), end=Suspend())
        (step,) = [one for one in await fleet.client.steps(handle.id) if one.id == "pay"]
        assert (step.state, step.attempts, step.last_error) == ("retrying", 2, "RuntimeError: no luck")
        await fleet.client.operator.skip_step(handle.id, "pay", value=7, actor="ann")
        await fleet.add_worker()
        assert await handle.result(timeout=30) == "shipped for 7"


async def test_a_step_that_is_not_there_and_an_end_that_is(run, app):
    pay_and_ship(app)
    async with run(app) as fleet:
        operator = fleet.client.operator
        handle = await fleet.client.start("order")
        await ended(handle)
        with pytest.raises(UnknownStep, match=r"reserve \(ok\), pay \(failed\)"):
            await operator.skip_step(handle.id, "pray", actor="ann")
        await operator.edit_step(handle.id, "pay", 1, actor="ann")
        await operator.retry(handle.id, actor="ann")
        await handle.result(timeout=30)
        with pytest.raises(AlreadyEnded, match="completed"):
            await operator.edit_step(handle.id, "pay", 2, actor="ann")
        with pytest.raises(NotRetryable, match="completed"):
            await operator.retry(handle.id, actor="ann")


# -- retry --------------------------------------------------------------------------------------------


async def test_a_retry_runs_the_step_whose_failure_ended_it_and_no_other(run, app):
    calls = pay_and_ship(app)
    async with run(app, workers=0, scheduler=False) as fleet:
        handle = await fleet.client.start("order")
        turn = await claimed(fleet.store, handle.id)
        entries = (done(1, "reserve", "shelf 3"), failed(2, "pay"))
        await turn.commit(entries=entries, end=Fail(error=failure("pay"), escaped=("pay",)))
        assert await fleet.client.operator.retry(handle.id, actor="ann") is Status.PENDING
        history = await fleet.client.history(handle.id)
        assert ([entry.id for entry in history.entries], history.execution.openings) == (["reserve", "__attempt:1"], 1)
        await fleet.add_worker()
        await ended(handle)
        assert calls == {"pay": 1}


async def test_a_retry_of_a_live_one_ends_its_pauses(run, app):
    pay_and_ship(app)
    async with run(app, workers=0, scheduler=False) as fleet:
        handle = await fleet.client.start("order")
        turn = await claimed(fleet.store, handle.id)
        pauses = [Open(id=id, kind="step", name="e", after_ms=3_600_000, attempts=1) for id in ("a", "b")]
        await turn.commit(opens=tuple(pauses), end=Suspend())
        await fleet.client.operator.retry(handle.id, actor="ann")
        history = await fleet.client.history(handle.id)
        assert all(wait.deadline is not None and wait.deadline <= history.now for wait in history.waits)
        nap = await fleet.client.start("nap")
        turn = await claimed(fleet.store, nap.id)
        await turn.commit(opens=(Open(id="long", kind="sleep", after_ms=3_600_000),), end=Suspend())
        with pytest.raises(NotRetryable, match="sleeping"):
            await fleet.client.operator.retry(nap.id, actor="ann")


async def test_what_is_left_to_undo_is_found_and_reopened_for_that_alone(run, app):
    pay_and_ship(app)
    async with run(app, workers=0, scheduler=False) as fleet:
        client = fleet.client
        handle = await client.start("order")
        turn = await claimed(fleet.store, handle.id)
        entries = (done(1, "reserve"), failed(2, "rollback:reserve", kind="compensation"))
        await turn.commit(entries=entries, outstanding=1, end=FailCompensation(error=failure("rollback:reserve")))
        other = await client.start("order")
        assert [one.id for one in (await client.operator.stuck()).executions] == [handle.id]
        with pytest.raises(NotRetryable, match="retry_rollback"):
            await client.operator.retry(handle.id, actor="ann")
        with pytest.raises(NotRetryable, match="cancel"):
            await client.operator.retry_rollback(other.id, actor="ann")
        assert await client.operator.retry_rollback(handle.id, actor="ann") is Status.PENDING
        history = await client.history(handle.id)
        assert history.execution.rollback and [entry.id for entry in history.entries] == ["reserve"]
        assert (await client.operator.stuck()).executions == ()


# -- force_fail ---------------------------------------------------------------------------------------


async def test_a_live_execution_is_ended_and_whoever_waits_is_told(run, app):
    pay_and_ship(app)
    async with run(app) as fleet:
        handle = await fleet.client.start("nap")
        waiting = asyncio.create_task(handle.result(timeout=30))
        await until(fleet.client, handle.id, Status.SLEEPING)
        assert await fleet.client.operator.force_fail(handle.id, "hopeless", actor="ann") is Status.FAILED
        with pytest.raises(ExecutionFailed, match="by an operator: hopeless") as caught:
            await waiting
        assert isinstance(caught.value.__cause__, OperatorFailed)
        with pytest.raises(AlreadyEnded, match="failed"):
            await fleet.client.operator.force_fail(handle.id, "again", actor="ann")
        (line,) = [line for line in await fleet.client.audit(handle.id) if line.kind == "operator"]
        assert line.fields == {"action": "force_fail", "verb": "force_fail", "reason": "hopeless", "actor": "ann"}


# -- fork ---------------------------------------------------------------------------------------------


async def test_a_fork_runs_from_the_step_on_and_leaves_its_origin_alone(run, app):
    calls = pay_and_ship(app)
    async with run(app) as fleet:
        handle = await fleet.client.start("order", attributes={"customer": "ann"})
        await ended(handle)
        before = await fleet.client.history(handle.id)
        fork = await fleet.client.operator.fork(handle.id, "pay", new_id="second", actor="ann")
        assert fork.id == "second"
        await ended(fork)
        assert calls == {"reserve": 1, "pay": 2}
        history = await fleet.client.history("second")
        assert [(entry.id, entry.outcome) for entry in history.entries] == [("reserve", "ok"), ("pay", "failed")]
        assert (history.execution.seed, dict(history.execution.attributes)) == (f"{handle.id}#1", {"customer": "ann"})
        after = await fleet.client.history(handle.id)
        assert (after.execution, after.entries) == (before.execution, before.entries)
        assert await operations(fleet.client, handle.id) == [("ann", "fork", "pay")]
        assert (await fleet.client.audit(handle.id))[-1].fields["fork"] == "second"
        with pytest.raises(ConflictingStart):
            await fleet.client.operator.fork(handle.id, "pay", new_id="second", actor="ann")
        with pytest.raises(UnknownStep):
            await fleet.client.operator.fork(handle.id, "pray", actor="ann")


# -- refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", ["", "  ", None])
async def test_nobody_does_nothing(run, app, actor):
    pay_and_ship(app)
    async with run(app, workers=0, scheduler=False) as fleet:
        handle = await fleet.client.start("order")
        for act in (
            fleet.client.operator.force_fail(handle.id, "why", actor=actor),
            fleet.client.operator.fork(handle.id, "pay", actor=actor),
        ):
            with pytest.raises(UsageError, match="actor"):
                await act
        assert await handle.status() is Status.PENDING


async def test_an_unknown_execution(run, app):
    async with run(app, workers=0, scheduler=False) as fleet:
        operator = fleet.client.operator
        for act in (operator.detail("x"), operator.retry("x", actor="a"), operator.fork("x", "s", actor="a")):
            with pytest.raises(UnknownExecution, match="'x'"):
                await act


async def test_a_journal_that_moves_on_between_look_and_action_is_looked_at_again(run, app, monkeypatch):
    pay_and_ship(app)
    async with run(app, workers=0, scheduler=False) as fleet:
        handle = await fleet.client.start("order")
        turn = await claimed(fleet.store, handle.id)
        await turn.commit(opens=(Open(id="pay", kind="step", after_ms=3_600_000, attempts=1),))
        looks = 0
        read = fleet.store.read

        async def read_while_it_goes_on(id: str):
            nonlocal looks
            looks += 1
            history = await read(id)
            if looks <= behind:
                await turn.commit(entries=(done(looks, f"other-{looks}"),))
            return history

        monkeypatch.setattr(fleet.store, "read", read_while_it_goes_on)
        behind = 1_000
        with pytest.raises(StoreConflict, match="nothing was done"):
            await fleet.client.operator.skip_step(handle.id, "pay", actor="ann")
        assert looks == MAX_LOOKS
        behind = looks + 1
        await fleet.client.operator.skip_step(handle.id, "pay", actor="ann")
        entries = (await read(handle.id)).entries
        assert [entry.number for entry in entries] == list(range(1, len(entries) + 1)) and entries[-2].id == "pay"


# -- looking ------------------------------------------------------------------------------------------


async def test_a_detail_tells_where_it_stands(run, app):
    pay_and_ship(app)
    async with run(app) as fleet:
        handle = await fleet.client.start("nap")
        await until(fleet.client, handle.id, Status.SLEEPING)
        detail = await handle.detail()
        (wait,) = detail.position.waits
        assert (wait.id, wait.kind, wait.deadline) == ("long", "sleep", detail.position.next_at)
        assert "sleep 'long'" in detail.position.doing
        assert [line.kind for line in detail.audit][:1] == ["created"]
        await fleet.client.operator.force_fail(handle.id, "enough", actor="ann")
        detail = await handle.detail()
        assert (detail.position.waits, detail.position.next_at) == ((), None)
        assert detail.error is not None and detail.error.message == "enough"


async def test_a_watcher_hears_of_everything_until_the_end(run, app):
    pay_and_ship(app)
    async with run(app) as fleet:
        handle = await fleet.client.start("order")
        async with asyncio.timeout(30):
            told = [line async for line in handle.watch()]
        statuses = [line.fields["to"] for line in told if line.kind == "status"]
        assert (statuses[0], statuses[-1]) == ("running", "failed")
        assert tuple(told) == await fleet.client.audit(handle.id)
        with pytest.raises(UnknownExecution):
            async for _ in fleet.client.watch("nobody"):
                raise AssertionError
