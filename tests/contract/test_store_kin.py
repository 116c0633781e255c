"""What is known of children, in whatever order it is told: that one goes on again, and that one is still to come."""

from __future__ import annotations

from runner.records import ChildLink
from runner.store import Store
from runner.transactions import Action, Complete, ContinueAsNew, Fail, Follow, Parcel, Reception
from tests.contract.kit import (
    Elapse,
    Turn,
    a_notice,
    a_start,
    begin,
    carry,
    claim,
    delivery,
    operate,
)

ALIVE = (ChildLink(execution_id="c-1", policy="cancel", ended=False),)
ENDED = (ChildLink(execution_id="c-1", policy="cancel", ended=True),)


async def failed_child(store: Store) -> tuple[Turn, Parcel]:
    """The turn of a parent, e-1, and the notice of its child's failure, which nobody has carried yet."""
    parent = await begin(store)
    await parent.commit(children=[("c-1", "cancel")])
    child = await begin(store, a_start("c-1", parent="e-1", parent_run=1, parent_close="cancel"))
    (notice,) = (await child.commit(end=Fail(error=b"e"))).parcels
    return parent, notice


async def reopened(store: Store, id: str = "c-1") -> Parcel:
    """What tells the parent that its child was opened again."""
    (word,) = (await operate(store, Action.RETRY, id)).parcels
    return word


# -- a child that was opened again ------------------------------------------------------------------


async def test_a_child_that_was_opened_again_ends_with_its_parent(store: Store) -> None:
    parent, notice = await failed_child(store)
    await carry(store, [notice])
    assert await store.children("e-1") == ENDED
    await carry(store, [await reopened(store)])
    assert await store.children("e-1") == ALIVE
    answer = await parent.commit(end=Complete(result=b"r"), seen=1)
    assert [(one.outgoing.kind, one.outgoing.target) for one in answer.parcels] == [("cancel", "c-1")]


async def test_what_is_told_late_of_an_older_state_changes_nothing(store: Store) -> None:
    _, notice = await failed_child(store)
    word = await reopened(store)
    await carry(store, [word])
    await carry(store, [notice])
    assert await store.children("e-1") == ALIVE, "its first end came after the word that it goes on"
    child = await claim(store, "c-1")
    await carry(store, (await child.commit(end=Complete(result=b"r"))).parcels)
    assert await store.children("e-1") == ENDED
    assert (await store.deliver(delivery(word.outgoing))).reception is Reception.DELIVERED
    assert await store.children("e-1") == ENDED, "the word came once more"


async def test_what_is_known_of_a_child_outlives_its_second_start(store: Store) -> None:
    parent, notice = await failed_child(store)
    await carry(store, [notice, await reopened(store)])
    await parent.commit(children=[("c-1", "abandon")])
    assert [(one.policy, one.ended) for one in await store.children("e-1")] == [("abandon", False)]
    await carry(store, [notice])
    assert not (await store.children("e-1"))[0].ended


async def test_a_parent_that_has_ended_since_cancels_it(store: Store, elapse: Elapse) -> None:
    parent, notice = await failed_child(store)
    await carry(store, [notice])
    word = await reopened(store)
    await elapse(2)
    assert (await parent.commit(end=Complete(result=b"r"), seen=1)).parcels == ()
    (cancel,) = await carry(store, [word])
    assert (cancel.outgoing.kind, cancel.outgoing.target, cancel.outgoing.request) == ("cancel", "c-1", "cancel:e-1:0")


async def test_one_that_is_opened_after_its_parents_end_is_the_operators(store: Store, elapse: Elapse) -> None:
    parent, notice = await failed_child(store)
    await carry(store, [notice])
    await parent.commit(end=Complete(result=b"r"), seen=1)
    await elapse(2)
    assert await carry(store, [await reopened(store)]) == []


async def test_a_child_of_an_older_run_is_known_anew_and_forgotten_again(store: Store) -> None:
    parent, notice = await failed_child(store)
    await carry(store, [notice])
    await parent.commit(end=ContinueAsNew(input=b"i"), seen=1)
    assert await store.children("e-1") == ()
    await carry(store, [await reopened(store)])
    assert await store.children("e-1") == ALIVE
    child = await claim(store, "c-1")
    await carry(store, (await child.commit(end=Complete(result=b"r"))).parcels)
    assert await store.children("e-1") == ()


async def test_an_old_notice_does_not_have_it_forgotten(store: Store) -> None:
    parent, notice = await failed_child(store)
    word = await reopened(store)
    await parent.commit(end=ContinueAsNew(input=b"i"))
    await carry(store, [word, notice])
    assert await store.children("e-1") == ALIVE


async def test_only_a_parent_that_is_an_execution_is_told(store: Store) -> None:
    for id, parent in (("alone", ""), ("ticked", "@nightly")):
        turn = await begin(store, a_start(id, parent=parent))
        await turn.commit(end=Fail(error=b"e"))
        assert (await operate(store, Action.RETRY, id)).parcels == ()


async def test_who_does_not_know_the_child_stays_as_it_is(store: Store) -> None:
    """Somebody else's child, an execution that is not there, and one that was started without a policy."""
    _, notice = await failed_child(store)
    word = await reopened(store)
    stranger = await begin(store, a_start("e-2"))
    elsewhere = delivery(word.outgoing)
    for id, reception in (("e-2", Reception.DELIVERED), ("nobody", Reception.UNKNOWN)):
        answer = await store.deliver(
            type(elsewhere)(id=id, request="r", kind="reopened", name="c-1", payload=elsewhere.payload)
        )
        assert answer.reception is reception
    assert await store.children("e-2") == ()
    await stranger.commit(end=Complete(result=b"r"))
    await carry(store, [notice])


async def test_notices_of_other_kinds_end_the_bond_to_a_child_for_good(store: Store) -> None:
    parent = await begin(store)
    await parent.commit(children=[("1:2", "cancel")])
    conflict = a_notice("1:2")
    await store.deliver(
        type(conflict)(id="e-1", request="conflict:1:2:start", kind="ended", name="1:2", payload=conflict.payload)
    )
    assert (await store.children("e-1"))[0].ended


# -- a child that is still to come ------------------------------------------------------------------


async def test_what_is_expected_is_not_answered_before_it_is_there(store: Store) -> None:
    asked = Follow(target="c-1", waiter="e-1", run=2, workflow="order", request="f", expected=True)
    assert await store.follow(asked) is None
    assert [await store.relay(partition, 10) for partition in range(store.partitions)] == [[]] * store.partitions
    child = await begin(store, a_start("c-1", parent="e-1", parent_run=1))
    assert await store.follow(asked) == ()
    told = (await child.commit(end=Complete(result=b"r"))).parcels
    assert sorted(one.outgoing.run for one in told) == [1, 2]
