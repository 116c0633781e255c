"""Events: who gets a copy, who shares, and what becomes of one that nobody can take. Over both brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from runner.broker import Broker, Consumer, EventRefused, EventReturned, Listening
from runner.broker.handling import REQUEUE_PAUSE
from runner.errors import BrokerUnavailable, ConfigError
from runner.messages import Emission
from tests.contract_broker.helpers import Inject, eventually


def emission(number: int = 1, event: str = "order.paid") -> Emission:
    return Emission(
        id=f"e-{number}", event=event, payload=b"\x00\xffpayload", execution_id="x-1", workflow="orders", at=10**13 + 7
    )


class Ear:
    """A listener that remembers what it heard, and fails as told."""

    def __init__(self, fail: Callable[[int], Exception | None] = lambda _: None) -> None:
        self.heard: list[Emission] = []
        self._fail = fail

    async def __call__(self, heard: Emission) -> None:
        self.heard.append(heard)
        if (error := self._fail(len(self.heard))) is not None:
            raise error

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.heard]


async def listen(
    broker: Broker,
    listener: Callable[[Emission], Awaitable[None]],
    *events: str,
    name: str = "mailer",
    prefetch: int = 5,
) -> Consumer:
    one = Listening(events=events or ("order.paid",), prefetch=prefetch, listener=listener)
    return await broker.listen({name: one})


async def letters(broker: Broker, count: int) -> bool:
    return len(await broker.dead_letters(100)) == count


async def test_an_event_arrives_as_it_was_with_every_subscriber_and_nobody_else(broker: Broker) -> None:
    mailer, auditor, other = Ear(), Ear(), Ear()
    await listen(broker, mailer)
    await listen(broker, auditor, "order.paid", "order.shipped", name="auditor")
    await listen(broker, other, "order", "order.paid.twice", name="other")
    await broker.emit(emission(1))
    await broker.emit(emission(2, "order.shipped"))
    await broker.emit(emission(3, "nobody.listens"))

    await eventually(lambda: auditor.ids == ["e-1", "e-2"], "the auditor heard both")
    await eventually(lambda: mailer.ids == ["e-1"], "the mailer heard its one")
    assert mailer.heard == [emission(1)]
    assert other.heard == []


async def test_one_consumer_serves_several_subscribers(broker: Broker) -> None:
    mailer, auditor = Ear(), Ear()
    both = {
        "mailer": Listening(events=("order.paid",), prefetch=1, listener=mailer),
        "auditor": Listening(events=("order.paid",), prefetch=1, listener=auditor),
    }
    consumer = await broker.listen(both)
    await broker.emit(emission())
    await eventually(lambda: mailer.ids == auditor.ids == ["e-1"], "each has its copy")
    await consumer.stop()
    assert not consumer.consuming


async def test_consumers_of_one_subscriber_share_its_events(broker: Broker) -> None:
    first, second = Ear(), Ear()
    await listen(broker, first)
    await listen(broker, second)
    for number in range(20):
        await broker.emit(emission(number))
    await eventually(lambda: len(first.ids) + len(second.ids) == 20, "all were heard")
    assert {*first.ids, *second.ids} == {f"e-{number}" for number in range(20)}
    assert first.ids and second.ids


async def test_what_is_emitted_while_a_subscriber_is_away_waits_for_it(broker: Broker) -> None:
    away = await listen(broker, Ear())
    await away.stop()
    await broker.emit(emission(1))
    ear = Ear()
    await listen(broker, ear)
    await eventually(lambda: ear.ids == ["e-1"], "it waited")


async def test_no_more_than_the_prefetch_is_with_a_listener_at_once(broker: Broker) -> None:
    inside, most, go_on = 0, 0, asyncio.Event()

    async def slow(_: Emission) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await go_on.wait()
        inside -= 1

    await listen(broker, slow, prefetch=2)
    ear = Ear()
    await listen(broker, ear, name="witness")
    for number in range(6):
        await broker.emit(emission(number))
    await eventually(lambda: len(ear.ids) == 6 and inside == 2, "two are inside, the rest waits")
    go_on.set()
    await eventually(lambda: inside == 0, "all are through")
    assert most == 2


async def test_an_event_is_heard_again_until_its_listener_returns(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.broker.handling.REQUEUE_PAUSE", 0.01)
    ear = Ear(lambda time: RuntimeError("boom") if time < 4 else None)
    consumer = await listen(broker, ear, prefetch=1)
    await broker.emit(emission(1))
    await eventually(lambda: ear.ids == ["e-1"] * 4, "heard until it went well")
    await broker.emit(emission(2))
    await eventually(lambda: ear.ids[4:] == ["e-2"], "the next one follows")
    assert consumer.consuming
    assert await broker.dead_letters(10) == []


async def test_the_pause_before_an_event_comes_back_grows(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.broker.handling.REQUEUE_PAUSE", 0.1)
    monkeypatch.setattr("runner.broker.handling.LISTENER_PAUSE_MAX", 0.4)
    times: list[float] = []

    async def fails(_: Emission) -> None:
        times.append(asyncio.get_running_loop().time())
        raise RuntimeError("boom")

    consumer = await listen(broker, fails)
    await broker.emit(emission())
    await eventually(lambda: len(times) >= 4, "it came back three times")
    await consumer.stop()
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[0] >= 0.09 and pauses[1] >= 0.19 and pauses[2] >= 0.39


async def test_an_event_whose_listener_always_fails_is_a_dead_letter_with_the_error(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.broker.handling.REQUEUE_PAUSE", 0.001)
    monkeypatch.setattr("runner.broker.handling.DELIVERY_LIMIT", 3)
    ear = Ear(lambda _: RuntimeError("the mail server is gone"))
    await listen(broker, ear)
    await broker.emit(emission())
    await eventually(lambda: letters(broker, 1), "it was given up")
    [letter] = await broker.dead_letters(10)
    assert (letter.queue, letter.body) == ("on:mailer", emission().payload)
    assert "failed 4 times" in letter.reason and "RuntimeError: the mail server is gone" in letter.reason
    assert len(ear.ids) == 4


async def test_a_refused_event_is_a_dead_letter_at_once(broker: Broker) -> None:
    ear = Ear(lambda time: EventRefused("no such order") if time == 1 else None)
    await listen(broker, ear, prefetch=1)
    await broker.emit(emission(1))
    await broker.emit(emission(2))
    await eventually(lambda: ear.ids == ["e-1", "e-2"], "the next one follows at once")
    await eventually(lambda: letters(broker, 1), "the refused one is kept")
    [letter] = await broker.dead_letters(10)
    assert (letter.queue, letter.reason) == ("on:mailer", "no such order")


async def test_an_event_that_is_given_back_is_heard_again_at_once(broker: Broker) -> None:
    ear = Ear(lambda time: EventReturned() if time == 1 else None)
    await listen(broker, ear)
    began = asyncio.get_running_loop().time()
    await broker.emit(emission())
    await eventually(lambda: ear.ids == ["e-1", "e-1"], "it came back")
    assert asyncio.get_running_loop().time() - began < REQUEUE_PAUSE


async def test_what_is_no_event_is_a_dead_letter_with_the_reason_and_hinders_nobody(
    broker: Broker, inject: Inject
) -> None:
    ear = Ear()
    await listen(broker, ear, prefetch=1)
    await inject("on:mailer", b"foreign")
    await broker.emit(emission(1))
    await eventually(lambda: ear.ids == ["e-1"], "the good one got past the bad one")
    await eventually(lambda: letters(broker, 1), "the bad one is kept")
    [letter] = await broker.dead_letters(10)
    assert (letter.queue, letter.body) == ("on:mailer", b"foreign")
    assert "not an event" in letter.reason


async def test_an_event_that_the_subscriber_no_longer_listens_to_is_a_dead_letter(broker: Broker) -> None:
    await (await listen(broker, Ear(), "order.paid", "order.old")).stop()
    ear = Ear()
    await listen(broker, ear, "order.paid")
    await broker.emit(emission(1, "order.old"))
    await broker.emit(emission(2))
    await eventually(lambda: ear.ids == ["e-2"], "it hears what it listens to")
    await eventually(lambda: letters(broker, 1), "the other one is kept")
    [letter] = await broker.dead_letters(10)
    assert "order.old" in letter.reason and "unbind" in letter.reason


async def test_what_was_being_heard_when_the_consumer_stopped_is_heard_again(broker: Broker) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Emission) -> None:
        began.set()
        await go_on.wait()

    consumer = await listen(broker, slow)
    await broker.emit(emission())
    await asyncio.wait_for(began.wait(), 30)
    await consumer.stop()
    go_on.set()  # its end comes too late to count
    ear = Ear()
    await listen(broker, ear)
    await eventually(lambda: ear.ids == ["e-1"], "another consumer has it")


async def test_a_paused_listener_hears_nothing_until_resumed(broker: Broker) -> None:
    ear, witness = Ear(), Ear()
    consumer = await listen(broker, ear)
    await listen(broker, witness, name="witness")
    await consumer.pause()
    await broker.emit(emission())
    await eventually(lambda: witness.ids == ["e-1"], "it is out")
    assert ear.ids == []
    await consumer.resume()
    await eventually(lambda: ear.ids == ["e-1"], "it waited")


@pytest.mark.parametrize("event", ["", "order.*", "#", "x" * 256])
async def test_a_name_that_is_no_events_is_refused(broker: Broker, event: str) -> None:
    with pytest.raises(ConfigError, match="event"):
        await listen(broker, Ear(), event)


async def test_a_subscriber_that_cannot_be_is_refused(broker: Broker) -> None:
    for name in ("", "x" * 256):
        with pytest.raises(ConfigError, match="queue"):
            await listen(broker, Ear(), name=name)
    with pytest.raises(ConfigError, match="prefetch"):
        await listen(broker, Ear(), prefetch=0)


async def test_a_closed_broker_takes_no_event(broker: Broker) -> None:
    await broker.close()
    with pytest.raises(BrokerUnavailable, match="closed"):
        await broker.emit(emission())


async def test_the_same_event_at_the_same_time_is_out_each_time(broker: Broker) -> None:
    ear = Ear()
    await listen(broker, ear)
    await asyncio.gather(*(broker.emit(emission()) for _ in range(5)), broker.emit(replace(emission(), id="e-2")))
    await eventually(lambda: sorted(ear.ids) == ["e-1"] * 5 + ["e-2"], "at least once is all that is promised")
