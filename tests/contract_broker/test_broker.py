"""What every broker does. Each test runs over the memory broker and over RabbitMQ."""

from __future__ import annotations

import asyncio
import time

import msgpack
import pytest

from runner.broker import Broker, Delivery
from runner.broker.handling import REQUEUE_PAUSE
from runner.errors import BrokerUnavailable, ConfigError
from tests.contract_broker.helpers import Acker, Catcher, Inject, eventually, hint


async def test_a_published_hint_is_delivered_as_it_was_and_gone_once_acknowledged(broker: Broker) -> None:
    caught = Catcher()
    await broker.publish("orders", hint(7))
    first = await broker.consume({"orders": 1}, caught)

    delivery = await caught.next()
    assert (delivery.hint, delivery.queue, delivery.redelivered) == (hint(7), "orders", False)
    await delivery.ack()
    await first.stop()

    await broker.publish("orders", hint(8))
    await broker.consume({"orders": 1}, caught)
    assert (await caught.next()).hint == hint(8)


async def test_a_hint_reaches_only_its_queue(broker: Broker) -> None:
    orders, mails = Catcher(), Catcher()
    await broker.consume({"orders": 5}, orders)
    await broker.consume({"mails": 5}, mails)
    await broker.publish("mails", hint(1))
    await broker.publish("orders", hint(2))

    assert (await mails.next()).hint == hint(1)
    assert (await orders.next()).hint == hint(2)
    assert (mails.waiting, orders.waiting) == (0, 0)


async def test_hints_come_in_the_order_they_were_published(broker: Broker) -> None:
    caught = Catcher()
    for number in range(20):
        await broker.publish("orders", hint(number))
    await broker.consume({"orders": 20}, caught)
    assert [delivery.hint.seq for delivery in await caught.take(20)] == list(range(20))


async def test_no_more_than_the_prefetch_is_unsettled_and_each_ack_brings_one_more(broker: Broker) -> None:
    caught = Catcher()
    for number in range(5):
        await broker.publish("orders", hint(number))
    await broker.consume({"orders": 2}, caught)

    held = await caught.take(2)
    await eventually(lambda: depth_is(broker, "orders", 3), "three hints wait while two are unsettled")
    assert caught.waiting == 0
    await held[0].ack()
    await caught.next()
    await eventually(lambda: depth_is(broker, "orders", 2), "one ack let one hint out")
    assert caught.waiting == 0


async def test_the_prefetch_counts_for_each_queue_by_itself(broker: Broker) -> None:
    caught = Catcher()
    for number in range(4):
        await broker.publish("orders", hint(number))
        await broker.publish("mails", hint(number))
    await broker.consume({"orders": 1, "mails": 3}, caught)

    queues = [delivery.queue for delivery in await caught.take(4)]
    assert (queues.count("orders"), queues.count("mails")) == (1, 3)
    await eventually(lambda: depth_is(broker, "orders", 3), "orders holds back three")
    await eventually(lambda: depth_is(broker, "mails", 1), "mails holds back one")


async def test_a_prefetch_below_one_is_refused(broker: Broker) -> None:
    with pytest.raises(ConfigError, match="orders"):
        await broker.consume({"orders": 0}, Catcher())


async def test_consumers_of_one_queue_share_it(broker: Broker) -> None:
    first, second = Catcher(), Catcher()
    await broker.consume({"orders": 5}, first)
    await broker.consume({"orders": 5}, second)
    for number in range(10):
        await broker.publish("orders", hint(number))

    deliveries = [*await first.take(5), *await second.take(5)]
    assert {delivery.hint.seq for delivery in deliveries} == set(range(10))


async def test_what_was_not_settled_when_the_consumer_stopped_is_delivered_again(broker: Broker) -> None:
    caught = Catcher()
    consumer = await broker.consume({"orders": 3}, caught)
    for number in range(3):
        await broker.publish("orders", hint(number))
    acknowledged, *_ = await caught.take(3)
    await acknowledged.ack()
    await consumer.stop()
    assert not consumer.consuming

    again = Catcher()
    await broker.consume({"orders": 3}, again)
    redelivered = await again.take(2)
    assert [(delivery.hint.seq, delivery.redelivered) for delivery in redelivered] == [(1, True), (2, True)]


async def test_a_stopped_consumer_gets_nothing_more_and_stopping_twice_is_harmless(broker: Broker) -> None:
    caught = Catcher()
    consumer = await broker.consume({"orders": 3}, caught)
    await consumer.stop()
    await consumer.stop()
    await broker.publish("orders", hint())
    await eventually(lambda: depth_is(broker, "orders", 1), "nobody takes the hint")
    assert caught.waiting == 0


async def test_settling_after_the_consumer_stopped_has_no_effect_and_raises_nothing(broker: Broker) -> None:
    caught = Catcher()
    consumer = await broker.consume({"orders": 2}, caught)
    await broker.publish("orders", hint(1))
    await broker.publish("orders", hint(2))
    one, two = await caught.take(2)
    await consumer.stop()
    await one.ack()
    await two.orphan("too late")
    await eventually(lambda: depth_is(broker, "orders", 2), "both hints went back")
    assert await broker.orphans() == 0


async def test_settling_twice_is_harmless(broker: Broker) -> None:
    caught = Catcher()
    consumer = await broker.consume({"orders": 1}, caught)
    await broker.publish("orders", hint(1))
    delivery = await caught.next()
    await delivery.ack()
    await delivery.ack()
    await delivery.orphan("after the ack")
    await broker.publish("orders", hint(2))
    assert (await caught.next()).hint == hint(2)
    assert consumer.consuming
    assert await broker.orphans() == 0


async def test_a_hint_whose_handler_failed_comes_back_and_the_consumer_goes_on(broker: Broker) -> None:
    seen: list[tuple[int, bool]] = []
    settled = asyncio.Event()

    async def fails_once(delivery: Delivery) -> None:
        seen.append((delivery.hint.seq, delivery.redelivered))
        if not delivery.redelivered:
            raise RuntimeError("boom")
        await delivery.ack()
        settled.set()

    consumer = await broker.consume({"orders": 1}, fails_once)
    await broker.publish("orders", hint(3))
    async with asyncio.timeout(30):
        await settled.wait()
    assert seen == [(3, False), (3, True)]
    assert consumer.consuming


async def test_a_hint_whose_handler_failed_stays_away_for_a_moment(broker: Broker) -> None:
    calls: list[float] = []

    async def fails(delivery: Delivery) -> None:
        calls.append(time.monotonic())
        raise RuntimeError("boom")

    consumer = await broker.consume({"orders": 1}, fails)
    await broker.publish("orders", hint())
    await eventually(lambda: len(calls) >= 2, "the hint came back")
    await consumer.stop()
    assert calls[1] - calls[0] > REQUEUE_PAUSE * 0.9


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"\xc1garbage", "not msgpack", id="garbage"),
        pytest.param(b"", "not msgpack", id="empty"),
        pytest.param(b"x" * 5000, "5000", id="too big"),
        pytest.param(msgpack.packb([2, "id", "w", 1, 1]), "version 2", id="from a newer version"),
        pytest.param(msgpack.packb({"id": 1}), "not a hint", id="something else"),
    ],
)
async def test_what_is_no_hint_goes_to_the_dead_letters_with_the_reason_and_hinders_nobody(
    broker: Broker, inject: Inject, body: bytes, reason: str
) -> None:
    acked = Acker()
    await broker.consume({"orders": 1}, acked)
    await inject("orders", body)
    await broker.publish("orders", hint(1))

    await eventually(lambda: acked.seqs == [1], "the good hint got past the bad one")
    await eventually(lambda: dead_count_is(broker, 1), "the bad one is kept")
    [letter] = await broker.dead_letters(10)
    assert (letter.queue, letter.body) == ("orders", body)
    assert reason in letter.reason
    assert await broker.depth("orders") == 0


async def test_looking_at_dead_letters_leaves_all_of_them_there_and_shows_no_more_than_asked_for(
    broker: Broker, inject: Inject
) -> None:
    bodies = {b"\xc1%d" % number for number in range(3)}
    for body in bodies:
        await inject("orders", body)
    await broker.consume({"orders": 1}, Acker())
    await eventually(lambda: dead_count_is(broker, 3), "all three are dead letters")

    for _ in range(25):  # one look more than RabbitMQ 4 would allow by default
        assert len(await broker.dead_letters(2)) == 2
    assert {letter.body for letter in await broker.dead_letters(10)} == bodies


async def test_an_orphan_is_counted_kept_and_out_of_the_way(broker: Broker) -> None:
    caught = Catcher()
    await broker.consume({"orders": 1}, caught)
    await broker.publish("orders", hint(1))
    await broker.publish("orders", hint(2))
    assert await broker.orphans() == 0

    await (await caught.next()).orphan("the store does not know order-1")
    assert (await caught.next()).hint == hint(2)
    await eventually(lambda: orphans_are(broker, 1), "the orphan is counted")
    assert await broker.dead_letters(10) == []


async def test_depth_counts_what_waits_and_not_what_was_handed_out(broker: Broker) -> None:
    assert await broker.depth("orders") == 0
    for number in range(3):
        await broker.publish("orders", hint(number))
    await eventually(lambda: depth_is(broker, "orders", 3), "three hints wait")
    caught = Catcher()
    await broker.consume({"orders": 1}, caught)
    await caught.next()
    await eventually(lambda: depth_is(broker, "orders", 2), "one is handed out")


async def test_the_depth_of_a_queue_that_is_not_there_is_none(broker: Broker) -> None:
    assert await broker.depth("never-heard-of") is None
    assert await broker.depth("orders") == 0


async def test_a_paused_consumer_gets_nothing_and_can_still_settle_what_it_has(broker: Broker) -> None:
    caught = Catcher()
    consumer = await broker.consume({"orders": 1, "mails": 1}, caught)
    await broker.publish("orders", hint(1))
    delivery = await caught.next()
    await consumer.pause()
    await consumer.pause()
    assert not consumer.consuming

    await broker.publish("orders", hint(2))
    await delivery.ack()
    await eventually(lambda: depth_is(broker, "orders", 1), "the second hint waits")
    assert caught.waiting == 0

    await consumer.resume()
    await consumer.resume()
    assert consumer.consuming
    following = await caught.next()
    assert (following.hint, following.redelivered) == (hint(2), False)


async def test_a_resumed_consumer_counts_what_it_still_holds_from_before(broker: Broker) -> None:
    caught = Catcher()
    consumer = await broker.consume({"orders": 2}, caught)
    for number in range(6):
        await broker.publish("orders", hint(number))
    one, two = await caught.take(2)
    for _ in range(3):
        await consumer.pause()
        await consumer.resume()
    await one.ack()
    three = await caught.next()
    # Anything beyond the prefetch would have come before this answer, on the same connection.
    await consumer.pause()
    assert caught.waiting == 0

    await consumer.resume()
    await two.ack()
    await three.ack()
    assert {delivery.hint.seq for delivery in await caught.take(2)} == {3, 4}


async def test_pausing_and_resuming_at_once_ends_as_asked_last(broker: Broker) -> None:
    caught = Catcher()
    consumer = await broker.consume({"orders": 1}, caught)
    await asyncio.gather(*(consumer.pause() if turn % 2 else consumer.resume() for turn in range(11)))
    assert consumer.consuming
    await broker.publish("orders", hint())
    assert (await caught.next()).hint == hint()


async def test_publishing_to_a_queue_that_is_not_there_makes_it(broker: Broker) -> None:
    await broker.publish("brand-new", hint(1))
    assert await broker.publish_many([("another", hint(2)), ("another", hint(3))]) == 2
    caught = Catcher()
    await broker.consume({"brand-new": 1}, caught)
    assert (await caught.next()).hint == hint(1)
    await eventually(lambda: depth_is(broker, "another", 2), "both are in the other new queue")


async def test_publishing_many_counts_what_was_confirmed(broker: Broker) -> None:
    assert await broker.publish_many([]) == 0
    assert await broker.publish_many([("orders", hint(number)) for number in range(600)]) == 600
    await eventually(lambda: depth_is(broker, "orders", 600), "all of them are there")


async def test_a_hint_published_twice_is_two_hints(broker: Broker) -> None:
    await asyncio.gather(broker.publish("orders", hint()), broker.publish("orders", hint()))
    await eventually(lambda: depth_is(broker, "orders", 2), "nothing is merged")


async def test_hints_outlive_a_close_and_a_closed_broker_takes_none(broker: Broker) -> None:
    await broker.publish("orders", hint(1))
    caught = Catcher()
    consumer = await broker.consume({"mails": 1}, caught)
    await broker.close()
    await broker.close()
    assert not consumer.consuming
    with pytest.raises(BrokerUnavailable, match="closed"):
        await broker.publish("orders", hint(2))
    with pytest.raises(BrokerUnavailable, match="closed"):
        await broker.publish_many([("orders", hint(2))])

    await broker.open(["orders"])
    await broker.consume({"orders": 5}, caught)
    assert (await caught.next()).hint == hint(1)


async def test_opening_twice_is_harmless(broker: Broker) -> None:
    await broker.publish("orders", hint())
    await broker.open(["orders", "mails"])
    await eventually(lambda: depth_is(broker, "orders", 1), "the hint is still there")


async def depth_is(broker: Broker, queue: str, count: int) -> bool:
    return await broker.depth(queue) == count


async def dead_count_is(broker: Broker, count: int) -> bool:
    return len(await broker.dead_letters(100)) == count


async def orphans_are(broker: Broker, count: int) -> bool:
    return await broker.orphans() == count
