"""What is in the outbox reaches its place: at once, each parcel by itself, and nothing is lost when a backend is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from runner.broker import Listening
from runner.broker.memory import MemoryBroker
from runner.courier import AT_ONCE, Courier
from runner.errors import BrokerUnavailable, StoreUnavailable
from runner.hooks import Hooks
from runner.messages import Emission, Hint
from runner.records import Notice, Status
from runner.store import Store
from runner.store.factory import open_store
from runner.transactions import Complete, Deliver, Delivered, Follow, Outgoing, Parcel, Start, Started, Suspend
from tests.contract.kit import a_notice, a_start, begin, claim, part, record, start


@pytest.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Store]:
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("redis_url")
    store = open_store(url, namespace=namespace)
    await store.open()
    yield store
    await store.close()


class Post:
    """A broker that remembers what went through it."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.heard: list[Emission] = []

    def hints(self) -> set[str]:
        return {Hint.decode(copy.body).execution_id for queue in self.broker._queues.values() for copy in queue}

    async def hear(self, emission: Emission) -> None:
        self.heard.append(emission)


@pytest.fixture
async def post(namespace: str) -> AsyncIterator[Post]:
    broker = MemoryBroker(namespace)
    await broker.open()
    post = Post(broker)
    yield post
    await broker.close()


async def outbox(store: Store, id: str = "e-1") -> list[Parcel]:
    """Everything in the partition of this execution."""
    return await store.relay(part(store, id), 1_000)


async def put(store: Store, *outgoing: Outgoing, id: str = "e-1") -> list[Parcel]:
    """A turn of ``id`` that leaves these in the outbox."""
    turn = await begin(store, a_start(id))
    await turn.commit(outgoing=outgoing, end=Suspend())
    return await outbox(store, id)


def a_child(id: str, *, digest: str = "digest", parent: str = "e-1") -> Outgoing:
    begun = Start(
        id=id,
        request=f"child:{id}",
        workflow="child",
        version=1,
        queue="default",
        input=b"",
        digest=digest,
        parent=parent,
        parent_run=1,
    )
    return Outgoing(target=id, request=begun.request, kind="start", payload=begun.pack())


def a_signal(target: str, request: str | None = None) -> Outgoing:
    return Outgoing(target=target, request=request or uuid4().hex, kind="signal", name="ping", payload=b"1")


def an_emit(number: int) -> Outgoing:
    paid = Emission(id=f"m-{number}", event="paid", payload=b"7", execution_id="e-1", workflow="order", at=1)
    return Outgoing(target="paid", request=paid.id, kind="emit", payload=paid.pack())


async def inbox(store: Store, id: str) -> list[tuple[str, str]]:
    read = await store.read(id)
    assert read is not None
    return [(item.kind, item.name) for item in read.inbox]


async def test_children_are_started_signals_delivered_and_events_emitted_and_the_outbox_is_empty(
    store: Store, post: Post
) -> None:
    await post.broker.listen({"ear": Listening(events=("paid",), prefetch=5, listener=post.hear)})
    other = await begin(store, a_start("other"))
    await other.commit(end=Suspend())
    parcels = await put(store, a_child("child-1"), a_child("child-2"), a_signal("other"), an_emit(1))

    assert await Courier(store, post.broker).send(parcels) == 0
    assert (await record(store, "child-1")).workflow == "child"
    assert await inbox(store, "other") == [("signal", "ping")]
    assert post.hints() == {"child-1", "child-2", "other"}
    async with asyncio.timeout(10):
        while not post.heard:
            await asyncio.sleep(0)
    assert [one.id for one in post.heard] == ["m-1"]
    assert await outbox(store) == []


async def test_sending_again_changes_nothing(store: Store, post: Post) -> None:
    await start(store, a_start("other"))
    parcels = await put(store, a_child("child-1"), a_signal("other"))
    courier = Courier(store, post.broker)
    assert await courier.send(parcels) == 0
    before = await record(store, "child-1")
    assert await courier.send(parcels) == 0
    assert await inbox(store, "other") == [("signal", "ping")]
    assert await record(store, "child-1") == before


async def test_a_hundred_children_take_one_question_and_one_removal(
    store: Store, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcels = await put(store, *(a_child(f"child-{number}") for number in range(100)))
    asked: list[int] = []
    removed: list[int] = []
    start_, relayed = store.start, store.relayed

    async def counted(starts: Sequence[Start]) -> list[Started]:
        asked.append(len(starts))
        return await start_(starts)

    async def cleared(partition: int, places: Sequence[str]) -> None:
        removed.append(len(places))
        await relayed(partition, places)

    monkeypatch.setattr(store, "start", counted)
    monkeypatch.setattr(store, "relayed", cleared)
    assert await Courier(store, post.broker).send(parcels) == 0
    assert (asked, removed) == ([100], [100])
    assert len(post.hints()) == 100


async def test_deliveries_are_under_way_together_and_not_too_many(
    store: Store, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcels = await put(store, *(a_signal("e-1", f"s-{number}") for number in range(150)))
    inside, most = 0, 0
    deliver = store.deliver

    async def counted(one: Deliver) -> Delivered:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            return await deliver(one)
        finally:
            inside -= 1

    monkeypatch.setattr(store, "deliver", counted)
    assert await Courier(store, post.broker).send(parcels) == 0
    assert most == AT_ONCE
    assert len(await inbox(store, "e-1")) == 150


async def test_one_parcel_that_cannot_be_applied_stays_and_holds_up_no_other(store: Store, post: Post) -> None:
    await start(store, a_start("other"))
    unreadable = Outgoing(target="x", request="r-1", kind="start", payload=b"\xc1")
    unknown = Outgoing(target="x", request="r-2", kind="teleport", payload=b"")
    mute = Outgoing(target="x", request="r-3", kind="emit", payload=b"\xc1")
    parcels = await put(store, unreadable, a_child("child-1"), unknown, mute, a_signal("other"), a_child("child-2"))
    with capture_logs() as logs:
        assert await Courier(store, post.broker).send(parcels) == 3
    assert post.hints() >= {"child-1", "child-2"}
    assert await inbox(store, "other") == [("signal", "ping")]
    assert {parcel.outgoing.request for parcel in await outbox(store)} == {"r-1", "r-2", "r-3"}
    refused = [line for line in logs if line["event"] == "outbox.refused"]
    assert {(line["kind"], line["log_level"]) for line in refused} == {
        ("start", "error"),
        ("teleport", "error"),
        ("emit", "error"),
    }


async def test_while_the_store_is_away_everything_stays_and_nothing_is_raised(
    store: Store, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcels = await put(store, a_child("child-1"), a_signal("e-1"))

    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    courier = Courier(store, post.broker)
    with monkeypatch.context() as patched:
        for name in ("start", "deliver", "relayed"):
            patched.setattr(store, name, away)
        assert await courier.send(parcels) == 2
    assert await outbox(store) == parcels
    assert await courier.send(parcels) == 0
    assert await outbox(store) == []


async def test_what_was_applied_and_not_removed_stays_and_is_harmless(
    store: Store, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcels = await put(store, a_child("child-1"))

    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    courier = Courier(store, post.broker)
    with monkeypatch.context() as patched:
        patched.setattr(store, "relayed", away)
        assert await courier.send(parcels) == 0
    assert await outbox(store) == parcels
    assert await courier.send(await outbox(store)) == 0
    assert await outbox(store) == []


class AwayBroker(MemoryBroker):
    """Takes nothing, until told to."""

    away = True
    asked = 0

    async def emit(self, emission: Emission) -> None:
        self.asked += 1
        if self.away:
            raise BrokerUnavailable("away")
        await super().emit(emission)

    async def publish_many(self, hints: Sequence[tuple[str, Hint]]) -> int:
        if self.away:
            raise BrokerUnavailable("away")
        return await super().publish_many(hints)


async def test_while_the_broker_is_away_events_stay_hints_are_left_and_few_are_tried(
    store: Store, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = AwayBroker(namespace)
    emits = [an_emit(number) for number in range(150)]
    parcels = await put(store, a_child("child-1"), *emits)
    courier = Courier(store, broker)
    assert await courier.send(parcels) == 150
    assert (await record(store, "child-1")).status is Status.PENDING
    left = await outbox(store)
    assert [parcel.outgoing.kind for parcel in left] == ["emit"] * 150
    assert broker.asked <= AT_ONCE

    broker.away = False
    monkeypatch.setattr(courier, "_silent_until", 0)
    assert await courier.send(left) == 0
    assert await outbox(store) == []


async def test_a_child_whose_id_belongs_to_another_input_reaches_its_parent_as_a_failure(
    store: Store, post: Post
) -> None:
    await start(store, a_start("child-1", digest="another"))
    parcels = await put(store, a_child("child-1"))
    courier = Courier(store, post.broker)
    assert await courier.send(parcels) == 0
    assert await courier.send(parcels) == 0
    read = await store.read("e-1")
    assert read is not None
    [item] = [one for one in read.inbox if Notice.unpack(one.payload).status == "conflict"]
    assert (item.kind, item.name) == ("ended", "child-1")
    assert Notice.unpack(item.payload) == Notice(execution_id="child-1", status="conflict", workflow="child")
    assert "e-1" in post.hints()


async def test_a_child_that_is_there_with_the_same_input_is_no_conflict(store: Store, post: Post) -> None:
    await start(store, a_start("child-1"))
    assert await Courier(store, post.broker).send(await put(store, a_child("child-1"))) == 0
    assert await inbox(store, "e-1") == []


async def test_a_conflict_that_cannot_be_told_keeps_the_parcel(
    store: Store, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(store, a_start("child-1", digest="another"))
    parcels = await put(store, a_child("child-1"))

    async def away(_: object) -> Delivered:
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "deliver", away)
    assert await Courier(store, post.broker).send(parcels) == 1
    assert await outbox(store) == parcels


async def test_what_a_parcel_leads_to_is_sent_as_well(store: Store, post: Post) -> None:
    done = await begin(store, a_start("done"))
    await done.commit(end=Complete(result=b"42"))
    asked = Follow(target="done", waiter="e-1", run=1, workflow="order")
    outgoing = Outgoing(target="done", request="f-1", kind="follow", payload=asked.pack())
    parcels = await put(store, outgoing)

    assert await Courier(store, post.broker).send(parcels) == 0
    assert await inbox(store, "e-1") == [("ended", "done")]
    assert "e-1" in post.hints()
    assert await outbox(store, "done") == await outbox(store) == []


async def test_a_follow_that_overtakes_the_start_of_its_own_child_waits_for_it(store: Store, post: Post) -> None:
    """An older run has sent the start; unless the child is known to have ended, what is not there yet is to come."""
    parent = await begin(store)
    asked = Follow(target="c-1", waiter="e-1", run=1, workflow="child", request="f")
    follow = Outgoing(target="c-1", request="f", kind="follow", payload=asked.pack())
    committed = await parent.commit(outgoing=[a_child("c-1"), follow], children=[("c-1", "abandon")])
    begun, asking = committed.parcels
    courier = Courier(store, post.broker)

    assert await courier.send([asking]) == 1
    assert await inbox(store, "e-1") == []
    assert await outbox(store) == [begun, asking]
    assert await courier.send([begun]) == await courier.send([asking]) == 0
    assert await outbox(store) == []
    turn = await claim(store, "c-1")
    assert await courier.send((await turn.commit(end=Complete(result=b"42"))).parcels) == 0
    assert await inbox(store, "e-1") == [("ended", "c-1")]

    gone = Outgoing(target="c-1", request="g", kind="follow", payload=replace(asked, target="gone", request="g").pack())
    await parent.commit(children=[("gone", "abandon")])
    await store.deliver(a_notice("gone"))
    assert await courier.send(await put(store, gone, id="e-3")) == 0, "it has ended, and was purged since"
    assert await inbox(store, "e-1") == [("ended", "c-1"), ("ended", "gone"), ("ended", "gone")]


async def test_a_cancel_that_overtakes_its_start_ends_the_child_where_it_begins(store: Store, post: Post) -> None:
    cancel = Outgoing(target="child-1", request="cancel:e-1:0", kind="cancel", name="its parent has ended")
    parcels = await put(store, cancel)
    assert await Courier(store, post.broker).send(parcels) == 0
    late = await put(store, a_child("child-1", parent="e-2"), id="e-2")
    assert await Courier(store, post.broker).send(late) == 0
    assert (await record(store, "child-1")).status is Status.CANCELLED


async def test_rows_are_told_to_the_observers_and_hints_are_left_to_who_posts_them(store: Store, post: Post) -> None:
    fired: list[str] = []

    class Spy(Hooks):
        def fire(self, rows: object) -> None:
            fired.extend(row.kind for row in rows)

    posted: list[str] = []
    courier = Courier(store, post.broker, Spy(), post=lambda wakes: posted.extend(wake.id for wake in wakes))
    await courier.send(await put(store, a_child("child-1")))
    assert posted == ["child-1"]
    assert post.hints() == set()
    assert fired == ["created"]
