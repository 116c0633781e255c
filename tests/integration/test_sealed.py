"""A payload codec seals everything users give, on both pairs of backends, and what it cannot open harms nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from runner import App, Client, Context, PayloadError, RetryLater, Signal, Status, current_step, events
from runner.broker import Listening
from runner.core.retry import Retry
from runner.messages import Emission
from runner.records import Entry
from runner.signals import Event
from runner.store import Store
from runner.store.sealed import sealed
from runner.transactions import Commit, Start
from runner.workers import Worker, WorkerOptions
from tests.integration.ciphers import NEW, OLD, AesGcm, held
from tests.integration.conftest import Backend, Fleet, Run
from tests.integration.test_events import until

SECRET = "swordfish"
go = Signal[str]("go")
told = Event[str]("told")


def secret_of(app: App) -> Any:
    """A workflow that has the secret in everything that it is given, gives and says."""

    @app.error
    class Refused(Exception): ...

    @app.workflow("kid")
    async def kid(ctx: Context, text: str) -> str:
        return text

    def refuse(text: str) -> None:
        raise Refused(text)

    def late(text: str) -> str:
        step = current_step()
        step.heartbeat(text)
        if step.attempt == 1:
            raise RetryLater(0.01, f"not yet: {text}")
        assert step.details == text
        return text

    def undo(text: str) -> None:
        assert text == SECRET

    @app.workflow("whole")
    async def whole(ctx: Context, text: str) -> list[str]:
        kept = await ctx.step("late", late, text).options(compensate=undo, retry=Retry(max_attempts=2))
        try:
            await ctx.step("refuse", refuse, text)
        except Refused as error:
            kept += str(error)
        signalled = await ctx.wait_for_signal(go)
        await ctx.note(f"got {signalled}", signalled=signalled)
        await ctx.emit(told, signalled)
        grown = await ctx.run_child("kid", kid, signalled)
        await ctx.rollback()
        return [kept, signalled, grown]

    return whole


async def test_nothing_that_users_give_is_held_in_clear_and_everything_is_read_back(
    namespace: str, run: Run, backend: Backend
) -> None:
    app = App(namespace, payload_codec=AesGcm(k=NEW))
    whole = secret_of(app)
    heard: list[str] = []
    failed: list[str] = []
    passing: list[Emission] = []

    @app.on(told)
    def hear(text: str) -> None:
        heard.append(text)

    @app.on(events.AttemptFailed)
    def observe(event: events.AttemptFailed) -> None:
        failed.append(event.error)

    async def overhear(emission: Emission) -> None:
        passing.append(emission)

    async with run(app) as fleet:
        spy = await fleet.broker.listen({"spy": Listening(events=("told",), prefetch=1, listener=overhear)})
        handle = await fleet.client.start(whole, SECRET)
        await handle.signal(go, SECRET)
        assert await handle.result(timeout=30) == [SECRET * 2, SECRET, SECRET]
        await until(lambda: bool(heard and passing and failed), "everybody has heard")
        await spy.stop()
        held_now = await held(backend.store_url, namespace)
        assert b"whole" in held_now
        assert SECRET.encode() not in held_now
        assert heard == [SECRET]
        assert SECRET.encode() not in passing[0].payload
        assert failed[0].endswith(f"not yet: {SECRET}")
        trail = [line.fields for line in await fleet.client.audit(handle.id) if line.kind in ("note", "attempt_failed")]
        assert trail[0]["error"].endswith(f"not yet: {SECRET}")
        assert (trail[-1]["message"], trail[-1]["fields"]) == (f"got {SECRET}", {"signalled": SECRET})
        history = await fleet.client.history(handle.id)
        assert history.execution.result is not None
        assert SECRET.encode() in history.execution.input
        assert SECRET.encode() in history.execution.result


async def test_a_failure_is_sealed_and_raised_again(namespace: str, run: Run, backend: Backend) -> None:
    app = App(namespace, payload_codec=AesGcm(k=NEW))

    @app.workflow(max_attempts=1)
    async def broken(ctx: Context, text: str) -> None:
        raise ValueError(text)

    async with run(app) as fleet:
        handle = await fleet.client.start(broken, SECRET)
        with pytest.raises(Exception, match=SECRET):
            await handle.result(timeout=30)
        assert SECRET.encode() not in await held(backend.store_url, namespace)


# -- keys ----------------------------------------------------------------------------------------------


def waiting_in(app: App) -> Any:
    @app.workflow("waiting")
    async def waiting(ctx: Context, text: str) -> str:
        first = await ctx.step("first", str.upper, text)
        return first + await ctx.wait_for_signal(go)

    return waiting


@asynccontextmanager
async def joined(fleet: Fleet, app: App) -> AsyncIterator[Client]:
    """A worker and a client of another app, or another version of it, on the same servers."""
    waiting_in(app)
    options = WorkerOptions(grace_s=5, watch_loop=False)
    async with Worker(app, fleet.store, fleet.broker, options), Client(app, fleet.store, fleet.broker) as client:
        yield client


async def asleep(client: Client, id: str) -> None:
    async with asyncio.timeout(30):
        while (await client.execution(id)).status is not Status.SLEEPING:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, AesGcm(k=NEW)), (AesGcm(k=OLD), AesGcm(k2=NEW, k=OLD))],
    ids=["introduced", "rotated"],
)
async def test_what_was_written_before_is_read_after(namespace: str, run: Run, before: Any, after: Any) -> None:
    app = App(namespace, payload_codec=before)
    waiting = waiting_in(app)
    async with run(app) as fleet:
        handle = await fleet.client.start(waiting, "a")
        await asleep(fleet.client, handle.id)
        await fleet.workers[0].drain()
        async with joined(fleet, App(namespace, payload_codec=after)) as client:
            await client.signal(handle.id, go, "b")
            assert await client.wait(handle.id, timeout=30) == "Ab"
            raw = await fleet.store.record(handle.id)
            assert raw is not None
            assert raw.result is not None and raw.result.startswith(b"\xc1" + after._name + b":")


@pytest.mark.parametrize("other", [None, AesGcm(other=OLD), AesGcm(k=OLD)], ids=["no codec", "no key", "wrong key"])
async def test_a_worker_without_the_key_leaves_the_execution_to_one_that_has_it(
    namespace: str, run: Run, other: Any
) -> None:
    app, stranger = App(namespace, payload_codec=AesGcm(k=NEW)), App(namespace, payload_codec=other)
    waiting_in(app)
    async with run(app, workers=0) as fleet, joined(fleet, stranger) as strange:
        handle = await fleet.client.start("waiting", "a")
        await until_passed(fleet.store, handle.id)
        own = await strange.start("waiting", "x")  # goes on, beside the one that cannot
        await strange.signal(own.id, go, "y")
        assert await own.result(timeout=30) == "Xy"
        record = await fleet.client.execution(handle.id)
        assert f"execution {handle.id!r} cannot be opened here" in record.passed
        assert (record.crashes, record.attempt) == (0, 1)
        await fleet.client.signal(handle.id, go, "b")
        await fleet.add_worker()
        assert await handle.result(timeout=60) == "Ab"


async def until_passed(store: Store, id: str) -> None:
    async with asyncio.timeout(30):
        while not (record := await store.record(id)) or not record.passed:
            await asyncio.sleep(0.02)


async def test_whoever_looks_without_the_key_sees_the_record_and_is_told(namespace: str, run: Run) -> None:
    app = App(namespace, payload_codec=AesGcm(k=NEW))
    waiting = waiting_in(app)
    async with run(app) as fleet:
        handle = await fleet.client.start(waiting, "a")
        await handle.signal(go, "b")
        await handle.result(timeout=30)
        for codec in (None, AesGcm(other=OLD)):
            async with Client(App(namespace, payload_codec=codec), fleet.store, fleet.broker) as client:
                page = await client.executions()
                assert [one.id for one in page.executions] == [handle.id]
                detail = await client.operator.detail(handle.id)
                assert "sealed" in detail.input
                assert "sealed" in detail.steps[0].value
                assert [line.kind for line in detail.audit][:2] == ["created", "status"]
                with pytest.raises(PayloadError, match=f"result of execution '{handle.id}': is sealed"):
                    await client.wait(handle.id, timeout=5)


async def test_a_signal_that_cannot_be_opened_parks_its_execution_alone(namespace: str, run: Run) -> None:
    app = App(namespace, payload_codec=AesGcm(k=NEW))
    waiting = waiting_in(app)
    async with run(app) as fleet:
        harmed, well = await fleet.client.start(waiting, "a"), await fleet.client.start(waiting, "b")
        await asleep(fleet.client, harmed.id)
        async with Client(App(namespace, payload_codec=AesGcm(k=OLD)), fleet.store, fleet.broker) as forger:
            await forger.signal(harmed.id, go, "x")
        await until_passed(fleet.store, harmed.id)
        await well.signal(go, "c")
        assert await well.result(timeout=30) == "Bc"
        assert not (await harmed.status()).terminal
        await fleet.client.operator.force_fail(harmed.id, "forged", actor="me")
        assert await harmed.status() is Status.FAILED


# -- the edge itself -------------------------------------------------------------------------------------


async def test_a_codec_that_fails_is_an_error_of_the_call_and_nothing_is_stored(namespace: str, run: Run) -> None:
    class Broken(AesGcm):
        def encode(self, payload: bytes) -> bytes:
            raise OSError("the key server is away")

    app = App(namespace, payload_codec=Broken(k=NEW))
    waiting = waiting_in(app)
    async with run(app, workers=0) as fleet:
        with pytest.raises(PayloadError, match="OSError: the key server is away"):
            await fleet.client.start(waiting, "a", id="x")
        assert await fleet.store.record("x") is None


async def test_a_repeated_commit_is_recognised_though_its_bytes_are_others(namespace: str, backend: Backend) -> None:
    inner = backend.store(namespace)
    await inner.open()
    try:
        store = sealed(inner, AesGcm(k=NEW))
        assert sealed(store, None) is store
        await store.start([Start(id="x", request="r", workflow="w", version=1, queue="q", input=b"\x01", digest="")])
        await store.claim("x", "n", "me", 10_000)
        entry = Entry(number=1, id="s", kind="step", outcome="ok", payload=b"\x02", at=1)
        commit = Commit(id="x", nonce="n", count=1, lease_ms=10_000, seen=0, entries=(entry,))
        assert await store.commit(commit) is not None
        kept = (await inner.read("x")).entries  # type: ignore[union-attr]
        assert await store.commit(commit) is not None
        assert (await inner.read("x")).entries == kept  # type: ignore[union-attr]
        again = await store.read("x")
        assert again is not None
        assert again.entries == (entry,)
    finally:
        await inner.close()
