"""Functions that hear events: registered once, given their payload, bounded in number, and gone in good order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from runner import App
from runner.broker.memory import MemoryBroker
from runner.codec import encode
from runner.errors import UsageError
from runner.events import StepCompleted
from runner.messages import Emission
from runner.payload_codec import Sealing
from runner.signals import Event
from runner.workers import subscriptions as subscriptions_module
from runner.workers.subscriptions import AT_ONCE, PREFETCH, Subscriptions


@dataclass(frozen=True)
class Paid:
    order: str
    amount: int = 1


paid = Event[Paid]("order.paid")


def emission(number: int = 1, payload: object = None) -> Emission:
    body = encode(Paid(f"o-{number}") if payload is None else payload)
    return Emission(id=f"e-{number}", event="order.paid", payload=body, execution_id="x-1", workflow="w", at=1)


@pytest.fixture
async def broker(namespace: str) -> AsyncIterator[MemoryBroker]:
    broker = MemoryBroker(namespace)
    await broker.open()
    yield broker
    await broker.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


Begin = Callable[[App], Any]


@pytest.fixture
async def begin(broker: MemoryBroker) -> AsyncIterator[Begin]:
    """Starts an app's subscriptions; they are stopped at the end."""
    begun: list[Subscriptions] = []

    async def start(app: App) -> Subscriptions:
        begun.append(Subscriptions(app.subscriptions(), broker, Sealing(app.payload_codec)))
        await begun[-1].start()
        return begun[-1]

    yield start
    for one in begun:
        await one.stop()


async def drain(subscriptions: Subscriptions, grace_s: float = 10) -> None:
    await subscriptions.drain(grace_s, asyncio.Event())
    await subscriptions.stop()


async def test_functions_async_and_plain_are_given_the_typed_payload(
    app: App, broker: MemoryBroker, begin: Begin
) -> None:
    heard: list[tuple[str, object, bool]] = []
    main = threading.current_thread()

    @app.on(paid)
    async def asynchronous(payload: Paid) -> None:
        heard.append(("async", payload, threading.current_thread() is main))

    @app.on(paid)
    def plain(payload: Paid) -> None:
        heard.append(("plain", payload, threading.current_thread() is main))

    await begin(app)
    await broker.emit(emission(7))
    await until(lambda: len(heard) == 2)
    assert sorted(heard, key=str) == [("async", Paid("o-7"), True), ("plain", Paid("o-7"), False)]


async def test_a_payload_of_another_type_is_a_dead_letter_at_once(app: App, broker: MemoryBroker, begin: Begin) -> None:
    heard: list[Paid] = []
    app.on(paid, name="ear")(heard.append)
    await begin(app)
    await broker.emit(emission(1, {"order": 7}))
    await until(lambda: len(broker._dead) == 1)
    [letter] = await broker.dead_letters(1)
    assert "order.paid" in letter.reason and letter.queue == "on:ear"
    assert heard == []


async def test_no_more_run_at_once_than_there_are_places(app: App, broker: MemoryBroker, begin: Begin) -> None:
    inside, most, go_on = 0, 0, asyncio.Event()

    async def slow(_: Paid) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await go_on.wait()
        inside -= 1

    for number in range(4):
        app.on(paid, name=f"ear-{number}")(slow)
    await begin(app)
    for number in range(2 * PREFETCH):
        await broker.emit(emission(number))
    await until(lambda: inside == AT_ONCE)
    await asyncio.sleep(0.05)
    assert most == AT_ONCE < 4 * PREFETCH
    go_on.set()
    await until(lambda: not any(broker._queues[f"on:ear-{number}"] for number in range(4)) and inside == 0)


async def test_leaving_lets_what_runs_end_and_gives_the_rest_to_others(
    app: App, broker: MemoryBroker, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions_module, "AT_ONCE", 1)
    began, go_on, heard = asyncio.Event(), asyncio.Event(), []

    @app.on(paid)
    async def slow(payload: Paid) -> None:
        began.set()
        await go_on.wait()
        heard.append(payload.order)

    first = await begin(app)
    await broker.emit(emission(1))
    await broker.emit(emission(2))
    await began.wait()
    leaving = asyncio.create_task(drain(first))
    await asyncio.sleep(0)
    await broker.emit(emission(3))
    go_on.set()
    await leaving
    assert heard == ["o-1"]
    await begin(app)
    await until(lambda: sorted(heard) == ["o-1", "o-2", "o-3"])


@pytest.mark.parametrize("hurried", [False, True])
async def test_what_does_not_end_in_time_is_cut_off_and_heard_again(
    app: App, broker: MemoryBroker, begin: Begin, hurried: bool
) -> None:
    calls, began = 0, asyncio.Event()
    cancelled: list[bool] = []

    @app.on(paid)
    async def hangs_once(_: Paid) -> None:
        nonlocal calls
        calls += 1
        began.set()
        if calls == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

    first = await begin(app)
    await broker.emit(emission())
    await began.wait()
    hurry = asyncio.Event()
    if hurried:
        hurry.set()
    async with asyncio.timeout(5):
        await first.drain(60 if hurried else 0.05, hurry)
        assert first.busy == 1
        await first.stop()
    await until(lambda: cancelled == [True])
    await begin(app)
    await until(lambda: calls == 2)
    assert not broker._dead


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, StopIteration, RuntimeError])
async def test_whatever_a_function_raises_it_has_failed_and_nothing_else_has(
    app: App,
    broker: MemoryBroker,
    begin: Begin,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    plain: bool,
) -> None:
    monkeypatch.setattr("runner.broker.handling.REQUEUE_PAUSE", 0.001)
    monkeypatch.setattr("runner.broker.handling.DELIVERY_LIMIT", 2)
    heard: list[str] = []

    def raises(_: Paid) -> None:
        raise error

    async def raises_later(_: Paid) -> None:
        raise error

    app.on(paid)(raises if plain else raises_later)
    app.on(paid, name="ear")(lambda payload: heard.append(payload.order))
    await begin(app)
    await broker.emit(emission())
    await until(lambda: len(broker._dead) == 1)
    assert "failed 3 times" in broker._dead[0].reason
    assert heard == ["o-1"]


async def test_without_subscriptions_nothing_is_opened(app: App, broker: MemoryBroker, begin: Begin) -> None:
    app.on(StepCompleted)(print)
    await begin(app)
    assert broker._consumers == []


# -- registering ----------------------------------------------------------------------------------------------


def test_a_subscriber_is_called_as_its_function_is(app: App) -> None:
    class Mails:
        @staticmethod
        def send(_: Paid) -> None: ...

    app.on(paid)(Mails.send)
    app.on(paid)(lambda _: None)
    app.on(paid, name="given")(Mails.send)
    name = "test_a_subscriber_is_called_as_its_function_is"
    assert [one.name for one in app.subscriptions()] == sorted(
        ["given", f"{name}.Mails.send"[-64:].lstrip("._-"), f"{name}.-lambda-"[-64:].lstrip("._-")]
    )


def test_two_subscribers_of_one_name_are_refused(app: App) -> None:
    app.on(paid, name="mailer")(print)
    with pytest.raises(UsageError, match="'mailer' is registered twice"):
        app.on(Event[int]("other"), name="mailer")(print)


@pytest.mark.parametrize("event", [int, "order.paid", paid.payload_type, None])
def test_what_cannot_be_listened_to_is_refused(app: App, event: Any) -> None:
    with pytest.raises(UsageError, match="Event"):
        app.on(event)


def test_a_function_that_does_not_take_one_argument_is_refused(app: App) -> None:
    def none() -> None: ...
    def two(a: object, b: object) -> None: ...

    for fn in (none, two, 7):
        for event in (paid, StepCompleted):
            with pytest.raises(UsageError, match=r"@app\.on"):
                app.on(event)(fn)  # type: ignore[call-overload]


def test_a_name_that_does_not_fit_is_refused(app: App) -> None:
    for name in ("", "a b", "x" * 65):
        with pytest.raises(UsageError, match="subscriber"):
            app.on(paid, name=name)(print)


@pytest.fixture
def app(namespace: str) -> App:
    return App(namespace)
