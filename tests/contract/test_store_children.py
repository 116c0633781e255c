"""Executions that concern one another: ends that are told, children that are cancelled, cancels before their start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.records import ChildLink, Execution, Notice, Status
from runner.store import Store
from runner.store.crashes import MAX_CRASHES
from runner.transactions import (
    Complete,
    ContinueAsNew,
    End,
    Fail,
    FailCompensation,
    Follow,
    Outgoing,
    Parcel,
    Reception,
    RetryAttempt,
    Suspend,
)
from tests.contract.kit import (
    SHORT,
    Elapse,
    Turn,
    a_cancel,
    a_notice,
    a_parcel,
    a_sleep,
    a_start,
    a_wait,
    begin,
    cancel,
    carry,
    claim,
    history,
    nonce,
    notice,
    part,
    record,
    start,
)


async def outbox(store: Store, id: str) -> list[Outgoing]:
    return [parcel.outgoing for parcel in await store.relay(part(store, id), 100)]


def told(parcels: tuple[Parcel, ...]) -> set[tuple[str, int]]:
    """Who is told, and in which of its runs."""
    return {(one.outgoing.target, one.outgoing.run) for one in parcels if one.outgoing.kind == "ended"}


async def begun(store: Store, id: str = "c-1", *, timeout_ms: int | None = None, lease_ms: int = 60_000) -> Turn:
    """A child of e-1 in a turn."""
    return await begin(store, a_start(id, parent="e-1", parent_run=1, timeout_ms=timeout_ms), lease_ms=lease_ms)


# -- the record of a start ------------------------------------------------------------------------


async def test_a_start_keeps_where_it_comes_from(store: Store) -> None:
    await start(store, a_start("c-1", parent="e-1", parent_run=3, seed="origin", timeout_ms=60_000))
    found = await record(store, "c-1")
    assert (found.parent, found.parent_run, found.seed, found.timeout_ms) == ("e-1", 3, "origin", 60_000)
    assert (found.run, found.run_at, found.openings, found.outstanding, found.rollback) == (1, None, 0, 0, False)
    await start(store, a_start("e-2"))
    plain = await record(store, "e-2")
    assert (plain.parent, plain.parent_run, plain.seed, plain.timeout_ms) == ("", 0, "e-2", None)


# -- the parent is told ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "status", "result", "error"),
    [
        (Complete(result=b"\x00r\xff"), "completed", b"\x00r\xff", None),
        (Fail(error=b"\x00e\xff"), "failed", None, b"\x00e\xff"),
        (FailCompensation(error=b"c"), "compensation_failed", None, b"c"),
    ],
)
async def test_an_end_is_told_to_the_parent(
    store: Store, end: End, status: str, result: bytes | None, error: bytes | None
) -> None:
    await start(store, a_start("c-1", parent="e-1", parent_run=2, key="order-7"))
    turn = await claim(store, "c-1")
    answer = await turn.commit(end=end, outgoing=[a_parcel("mine")])
    assert [p.outgoing.request for p in answer.parcels] == ["mine", "ended:c-1:0"]
    (parcel,) = answer.parcels[1:]
    going = parcel.outgoing
    assert (going.target, going.kind, going.name, going.run) == ("e-1", "ended", "c-1", 2)
    assert notice(parcel) == Notice(
        execution_id="c-1",
        status=status,
        workflow="order",
        attempt=1,
        key="order-7",
        result=result,
        error=error,
    )
    assert tuple(await store.relay(part(store, "c-1"), 10)) == answer.parcels
    again = await turn.again()
    assert again is not None
    assert (again.parcels, again.rows) == ((), ())


async def test_an_end_by_its_deadline_is_told(store: Store, elapse: Elapse) -> None:
    await start(store, a_start("c-1", parent="e-1", parent_run=1, timeout_ms=40))
    await elapse(50)
    woken = await store.due(part(store, "c-1"), 10)
    assert told(woken.parcels) == {("e-1", 1)}
    assert notice(woken.parcels[0]).cause == "timed_out"
    assert (await store.due(part(store, "c-1"), 10)).parcels == ()


async def test_an_end_by_a_late_claim_is_told(store: Store, elapse: Elapse) -> None:
    await start(store, a_start("c-1", parent="e-1", parent_run=1, timeout_ms=40))
    await elapse(50)
    await store.claim("c-1", nonce(), "w-1", 60_000)
    assert [one.request for one in await outbox(store, "c-1")] == ["ended:c-1:0"]


async def test_an_end_by_too_many_crashes_is_told(store: Store, elapse: Elapse) -> None:
    await start(store, a_start("c-1", parent="e-1", parent_run=1))
    for _ in range(MAX_CRASHES - 1):
        await claim(store, "c-1", lease_ms=1)
        await elapse(2)
        assert (await store.reap(part(store, "c-1"), 10, [])).parcels == ()
    await claim(store, "c-1", lease_ms=1)
    await elapse(2)
    reaped = await store.reap(part(store, "c-1"), 10, [])
    assert told(reaped.parcels) == {("e-1", 1)}
    assert notice(reaped.parcels[0]).cause == "poisoned"


async def test_a_cancel_before_the_first_claim_is_told(store: Store) -> None:
    await start(store, a_start("c-1", parent="e-1", parent_run=1))
    one = a_cancel("c-1", reason="not needed")
    answer = await store.deliver(one)
    assert told(answer.parcels) == {("e-1", 1)}
    assert notice(answer.parcels[0]).status == "cancelled"
    assert notice(answer.parcels[0]).reason == "not needed"
    repeated = await store.deliver(one)
    assert (repeated.parcels, repeated.rows) == ((), ())


async def test_what_goes_on_tells_nobody(store: Store) -> None:
    turn = await begun(store)
    assert (await turn.commit(opens=[a_wait()], end=Suspend())).parcels == ()
    await store.deliver(a_cancel("c-1"))
    turn = await claim(store, "c-1")
    answer = await turn.commit(end=ContinueAsNew(input=b"i"), seen=1)
    assert (answer.released, answer.parcels) == (True, ())
    await start(store, a_start("orphan"))
    assert (await cancel(store, "orphan")).parcels == ()


async def test_a_parent_hears_of_a_child_that_was_there_before(store: Store) -> None:
    await start(store, a_start("c-1"))
    answer = await start(store, a_start("c-1", parent="e-1", parent_run=1))
    assert (answer.new, answer.parcels) == (False, ())
    turn = await claim(store, "c-1")
    assert turn.history.execution.parent == "", "it is nobody's child"
    assert told((await turn.commit(end=Complete(result=b"r"))).parcels) == {("e-1", 1)}


async def test_a_parent_hears_of_a_child_that_had_ended_before(store: Store) -> None:
    turn = await begin(store, a_start("c-1"))
    await turn.commit(end=Complete(result=b"early"))
    answer = await start(store, a_start("c-1", parent="e-1", parent_run=1))
    assert (answer.new, told(answer.parcels)) == (False, {("e-1", 1)})
    assert answer.parcels[0].outgoing.request == "ended:c-1:0"
    assert notice(answer.parcels[0]).result == b"early"
    assert await outbox(store, "c-1") == [answer.parcels[0].outgoing]


async def test_a_repeated_start_is_no_second_parent(store: Store) -> None:
    asked = a_start("c-1", parent="e-1", parent_run=1)
    await start(store, asked)
    await start(store, asked)
    turn = await claim(store, "c-1")
    assert len((await turn.commit(end=Complete(result=b"r"))).parcels) == 1
    assert (await start(store, asked)).parcels == ()


# -- followers ------------------------------------------------------------------------------------


def a_follow(waiter: str = "f-1", *, target: str = "e-1", run: int = 1, workflow: str = "order") -> Follow:
    return Follow(target=target, waiter=waiter, run=run, workflow=workflow)


async def test_every_follower_is_told_once(store: Store) -> None:
    turn = await begin(store, a_start(parent="p-1", parent_run=4))
    for one in (a_follow("f-1"), a_follow("f-2", run=2), a_follow("f-1"), a_follow("p-1", run=4)):
        assert await store.follow(one) == ()
    answer = await turn.commit(end=Complete(result=b"r"))
    assert told(answer.parcels) == {("p-1", 4), ("f-1", 1), ("f-2", 2)}
    assert len(answer.parcels) == 3
    assert {one.outgoing.request for one in answer.parcels} == {"ended:e-1:0"}


async def test_a_later_run_that_follows_is_told_as_such(store: Store) -> None:
    turn = await begin(store, a_start(parent="p-1", parent_run=1))
    await store.follow(a_follow("p-1", run=2))
    assert ("p-1", 2) in told((await turn.commit(end=Complete(result=b"r"))).parcels)


async def test_followers_outlive_a_run(store: Store) -> None:
    turn = await begin(store)
    await store.follow(a_follow())
    await turn.commit(end=ContinueAsNew(input=b"i"))
    turn = await claim(store)
    assert told((await turn.commit(end=Complete(result=b"r"))).parcels) == {("f-1", 1)}


async def test_following_what_has_ended_is_told_at_once_each_time(store: Store) -> None:
    """Again too: the first notice may have found its waiter ended, and an operator has reopened it since."""
    turn = await begin(store)
    await turn.commit(end=Fail(error=b"e"))
    for _ in range(2):
        (parcel,) = await store.follow(a_follow())
        assert (parcel.outgoing.target, parcel.outgoing.run) == ("f-1", 1)
        assert (parcel.outgoing.request, parcel.outgoing.name) == ("ended:e-1:0", "e-1")
        assert (notice(parcel).status, notice(parcel).error, parcel.partition) == ("failed", b"e", part(store))
        assert parcel in await store.relay(part(store), 10)


async def test_following_what_is_not_there(store: Store) -> None:
    (parcel,) = await store.follow(a_follow(target="nobody"))
    assert (parcel.outgoing.target, parcel.outgoing.request, parcel.outgoing.run) == ("f-1", "ended:nobody:0", 1)
    assert (notice(parcel).status, notice(parcel).execution_id) == ("unknown", "nobody")
    assert parcel.partition == part(store, "nobody")
    assert await store.relay(parcel.partition, 10) == [parcel]


@pytest.mark.parametrize("ended", [False, True])
async def test_following_what_is_of_another_workflow(store: Store, ended: bool) -> None:
    turn = await begin(store)
    if ended:
        await turn.commit(end=Complete(result=b"r"))
    (parcel,) = await store.follow(a_follow(workflow="refund"))
    assert parcel.outgoing.request == "mismatch:e-1:refund"
    assert (notice(parcel).status, notice(parcel).workflow, notice(parcel).result) == ("mismatch", "order", None)
    if not ended:
        assert (await turn.commit(end=Complete(result=b"r"))).parcels == ()


# -- notices arrive -------------------------------------------------------------------------------


async def test_a_notice_wakes_a_sleeper_and_is_one(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    one = a_notice("c-1")
    answer = await store.deliver(one)
    assert (answer.reception, answer.wake is not None) == (Reception.DELIVERED, True)
    assert (await store.deliver(one)).reception is Reception.DELIVERED
    (item,) = (await history(store)).inbox
    assert (item.kind, item.name, item.payload) == ("ended", "c-1", one.payload)


async def test_a_notice_for_another_run_is_dropped(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    answer = await store.deliver(a_notice("c-1", run=2))
    assert (answer.reception, answer.wake) == (Reception.TERMINAL, None)
    assert (await history(store)).inbox == ()
    answer = await store.deliver(a_notice("c-1", run=1))
    assert answer.reception is Reception.DELIVERED, "what was dropped does not count as delivered"
    assert (await store.deliver(a_notice("c-2", run=0))).reception is Reception.DELIVERED


async def test_a_notice_does_not_shorten_the_delay_before_a_retry(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(end=RetryAttempt(after_ms=60_000, error=b"e"))
    assert (await store.deliver(a_notice("c-1"))).wake is None
    assert len((await history(store)).inbox) == 1


async def test_a_notice_finds_nobody(store: Store) -> None:
    assert (await store.deliver(a_notice("c-1"))).reception is Reception.UNKNOWN
    turn = await begin(store)
    await turn.commit(end=Complete(result=b"r"))
    assert (await store.deliver(a_notice("c-1"))).reception is Reception.TERMINAL


async def test_a_signal_for_another_run_is_dropped(store: Store) -> None:
    await begin(store)
    for kind in ("signal", "cancel"):
        asked = replace(a_notice("x", run=2), kind=kind, request=nonce())
        assert (await store.deliver(asked)).reception is Reception.TERMINAL
    assert ((await history(store)).inbox, (await record(store)).status) == ((), Status.RUNNING)


# -- children -------------------------------------------------------------------------------------


async def links(store: Store) -> list[tuple[str, str, bool]]:
    return [(one.execution_id, one.policy, one.ended) for one in await store.children("e-1")]


async def test_children_are_remembered(store: Store) -> None:
    assert await store.children("e-1") == ()
    turn = await begin(store)
    await turn.commit(children=[("c-2", "cancel"), ("c-1", "abandon")])
    await turn.commit(children=[("c-3", "cancel")])
    await turn.again()
    assert await store.children("e-1") == (
        ChildLink(execution_id="c-1", policy="abandon", ended=False),
        ChildLink(execution_id="c-2", policy="cancel", ended=False),
        ChildLink(execution_id="c-3", policy="cancel", ended=False),
    )
    await store.deliver(a_notice("c-2"))
    assert await links(store) == [("c-1", "abandon", False), ("c-2", "cancel", True), ("c-3", "cancel", False)]
    await turn.commit(children=[("c-2", "cancel")])
    assert (await links(store))[1] == ("c-2", "cancel", True), "started once more, it has ended all the same"


async def test_a_child_that_is_of_another_workflow_has_not_ended(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(children=[("c-1", "cancel")])
    await start(store, a_start("c-1"))
    assert await carry(store, await store.follow(a_follow("e-1", target="c-1", workflow="refund"))) == []
    assert [item.name for item in (await history(store)).inbox] == ["c-1"]
    assert await links(store) == [("c-1", "cancel", False)]


@pytest.mark.parametrize("end", [Complete(result=b"r"), Fail(error=b"e")])
async def test_an_end_cancels_the_children_that_want_it(store: Store, end: End) -> None:
    turn = await begin(store)
    await turn.commit(children=[("c-1", "cancel"), ("c-2", "abandon"), ("c-3", "cancel"), ("c-4", "cancel")])
    await store.deliver(a_notice("c-3"))
    answer = await turn.commit(end=end)
    assert {p.outgoing.target for p in answer.parcels} == {"c-1", "c-4"}
    assert answer.parcels[0].outgoing == Outgoing(
        target=answer.parcels[0].outgoing.target,
        request="cancel:e-1:0",
        kind="cancel",
        name="its parent e-1 has ended",
    )


async def test_an_end_by_time_cancels_children_too(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=SHORT))
    await turn.commit(children=[("c-1", "cancel")], opens=[a_sleep(after_ms=60_000)], end=Suspend())
    await elapse(SHORT)
    woken = await store.due(part(store), 10)
    assert [p.outgoing.target for p in woken.parcels] == ["c-1"]


async def test_a_child_of_an_older_run_is_cancelled_at_the_end(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(children=[("c-1", "cancel"), ("c-2", "cancel"), ("c-3", "cancel")])
    await store.deliver(a_notice("c-1"))
    await turn.commit(end=ContinueAsNew(input=b"i"), seen=1)
    assert await links(store) == [("c-2", "cancel", False), ("c-3", "cancel", False)]
    turn = await claim(store)
    await turn.commit(children=[("c-4", "cancel")])
    assert (await store.deliver(a_notice("c-2", run=1))).reception is Reception.TERMINAL, "of run 1, which is over"
    assert await links(store) == [("c-3", "cancel", False), ("c-4", "cancel", False)]
    answer = await turn.commit(end=Complete(result=b"r"))
    assert {p.outgoing.target for p in answer.parcels} == {"c-3", "c-4"}


async def test_parent_and_child_from_start_to_end(store: Store) -> None:
    """What one puts into the outbox reaches the other, and nothing is left in it."""
    parent = await begin(store)
    child = a_start("c-1", parent="e-1", parent_run=1)
    out = Outgoing(target="c-1", request=child.request, kind="start", payload=child.pack())
    answer = await parent.commit(
        outgoing=[out], children=[("c-1", "cancel")], opens=[a_wait("c", "c-1")], end=Suspend()
    )
    assert await carry(store, answer.parcels) == []
    turn = await claim(store, "c-1")
    assert (await start(store, child)).new, "a parcel is carried at least once"
    answer = await turn.commit(end=Complete(result=b"r"))
    assert await carry(store, answer.parcels) == []
    parent = await claim(store)
    (item,) = parent.history.inbox
    assert Notice.unpack(item.payload).result == b"r"
    assert (await parent.commit(end=Complete(result=b"r"))).parcels == ()
    assert await outbox(store, "e-1") == await outbox(store, "c-1") == []


# -- cancels before their start -------------------------------------------------------------------


async def cancelled_before(store: Store, reason: str = "too early") -> None:
    answer = await store.deliver(replace(a_cancel("c-1", reason=reason, request="cancel:e-1:0"), tombstone=True))
    assert (answer.reception, answer.wake) == (Reception.DELIVERED, None)


async def test_a_cancel_that_overtakes_its_start_ends_it(store: Store) -> None:
    await cancelled_before(store)
    await cancelled_before(store, reason="a repeat changes nothing")
    assert await store.record("c-1") is None
    asked = a_start("c-1", parent="e-1", parent_run=1)
    answer = await start(store, asked)
    assert (answer.new, answer.wake, told(answer.parcels)) == (True, None, {("e-1", 1)})
    assert (notice(answer.parcels[0]).status, notice(answer.parcels[0]).reason) == ("cancelled", "too early")
    found: Execution = await record(store, "c-1")
    assert (found.status, found.reason, found.started_at) == (Status.CANCELLED, "too early", None)
    assert found.ended_at is not None
    times = await store.next_due(part(store, "c-1"))
    assert (times["ready"], times["timers"], times["expiry"] is not None) == (None, None, True)
    again = await start(store, asked)
    assert (again.new, again.wake, again.parcels) == (True, None, ())
    await cancelled_before(store)


async def test_only_a_parents_cancel_leaves_a_tombstone(store: Store) -> None:
    assert (await cancel(store, "c-1")).reception is Reception.UNKNOWN
    assert (await start(store, a_start("c-1"))).wake is not None
    assert (await record(store, "c-1")).status is Status.PENDING


async def test_a_tombstone_counts_once(store: Store, elapse: Elapse) -> None:
    await cancelled_before(store)
    await start(store, a_start("c-1", retention_ms=10))
    await elapse(20)
    assert (await store.purge(part(store, "c-1"), 10))[0] == 1
    await start(store, a_start("c-1"))
    assert (await record(store, "c-1")).status is Status.PENDING


@pytest.mark.parametrize(
    ("request_of", "ended"), [("ended:c-1:0", True), ("conflict:c-1:r", True), ("mismatch:c-1:w", False)]
)
async def test_every_notice_ends_the_bond_to_a_child_but_one_of_another_workflow(
    store: Store, request_of: str, ended: bool
) -> None:
    turn = await begin(store)
    await turn.commit(children=(("c-1", "cancel"),))
    await store.deliver(replace(a_notice("c-1"), request=request_of))
    assert await links(store) == [("c-1", "cancel", ended)]


async def test_each_follow_has_an_answer_of_its_own(store: Store) -> None:
    """A waiter that asked before, of the same target, was told under the same request: the next answer is another."""
    await begin(store)
    for target, workflow in (("nobody", "order"), ("e-1", "another")):
        asked = [replace(a_follow(target=target, workflow=workflow), request=one) for one in ("first", "second")]
        notices = [(await store.follow(one))[0].outgoing for one in asked]
        assert [one.request.rsplit(":", 1)[1] for one in notices] == ["first", "second"]


async def test_a_fork_begins_when_its_origin_did(store: Store) -> None:
    await store.start([replace(a_start(), seed="origin#3", run_at=1234)])
    kept = await record(store)
    assert (kept.run_at, kept.derived_from) == (1234, "origin#3")
