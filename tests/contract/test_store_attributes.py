"""Listing by attributes, and what needs an operator."""

from __future__ import annotations

import pytest

from runner.records import Execution, Filter, Status
from runner.store import Store
from runner.transactions import (
    Action,
    Complete,
    ContinueAsNew,
    EndCancelled,
    Fail,
    FailCompensation,
    RetryAttempt,
    Suspend,
)
from tests.contract.kit import (
    SHORT,
    Elapse,
    a_sleep,
    a_start,
    begin,
    cancel,
    claim,
    operate,
    part,
    record,
    start,
)

RED = ("colour", '"red"')
BLUE = ("colour", '"blue"')
BIG = ("size", "42")


async def listed(store: Store, *attributes: tuple[str, str], **conditions: object) -> set[str]:
    filter = Filter(**{"limit": 100, "attributes": attributes, **conditions})  # type: ignore[arg-type]
    page = await store.executions(filter)
    assert page.cursor is None
    return {one.id for one in page.executions}


# -- attributes -----------------------------------------------------------------------------------


async def test_a_start_brings_its_attributes(store: Store) -> None:
    many = (RED, ("flag", "true"), BIG, ("word", '"\N{SNOWMAN}"'))
    await start(store, a_start(attributes=tuple(sorted(many))))
    found = await record(store)
    assert dict(found.attributes) == {"colour": "red", "flag": True, "size": 42, "word": "\N{SNOWMAN}"}
    assert type(found.attributes["flag"]) is bool
    for one in many:
        assert await listed(store, one) == {"e-1"}
    await start(store, a_start("bare"))
    assert dict((await record(store, "bare")).attributes) == {}


async def test_a_commit_sets_some_and_leaves_the_others(store: Store) -> None:
    turn = await begin(store, a_start(attributes=(RED, BIG)))
    await turn.commit(attributes=[BLUE, ("new", "1.5")])
    assert dict((await record(store)).attributes) == {"colour": "blue", "size": 42, "new": 1.5}
    assert await listed(store, RED) == set()
    assert await listed(store, BLUE) == await listed(store, BIG) == await listed(store, ("new", "1.5")) == {"e-1"}
    await turn.commit(end=ContinueAsNew(input=b"i"))
    assert dict((await claim(store)).history.execution.attributes) == {"colour": "blue", "size": 42, "new": 1.5}


async def test_conditions_hold_together(store: Store) -> None:
    await store.start(
        [
            a_start("red-big", attributes=(RED, BIG)),
            a_start("red", attributes=(RED,)),
            a_start("blue-big", attributes=(BLUE, BIG)),
            a_start("red-refund", attributes=(RED,), workflow="refund"),
        ]
    )
    await claim(store, "red")
    assert await listed(store, RED) == {"red-big", "red", "red-refund"}
    assert await listed(store, RED, BIG) == await listed(store, BIG, RED) == {"red-big"}
    assert await listed(store, RED, BLUE) == set()
    assert await listed(store, RED, workflow="order") == {"red-big", "red"}
    assert await listed(store, RED, status=Status.RUNNING) == {"red"}
    assert await listed(store, RED, status=Status.PENDING, workflow="refund") == {"red-refund"}
    assert await listed(store, ("colour", "red")) == set(), "the text is compared as it is"
    assert await listed(store, ("size", '"42"')) == set()
    found = await record(store, "red")
    assert "red" not in await listed(store, RED, created_before=found.created_at)
    assert "red" in await listed(store, RED, created_after=found.created_at)


async def test_pages_of_an_attribute(store: Store, elapse: Elapse) -> None:
    for number in range(3):
        await store.start([a_start(f"{number}-{i}", attributes=(RED,)) for i in range(3)])
        await start(store, a_start(f"{number}-other", attributes=(BLUE,)))
        await elapse(2)
    cursor: str | None = None
    seen: list[Execution] = []
    while True:
        page = await store.executions(Filter(attributes=(RED,), limit=4, cursor=cursor))
        seen += page.executions
        if (cursor := page.cursor) is None:
            break
    times = [one.created_at for one in seen]
    assert (len(seen), len({one.id for one in seen})) == (9, 9)
    assert times == sorted(times, reverse=True)


async def test_what_was_purged_has_no_attributes(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(attributes=(RED,), retention_ms=5))
    await turn.commit(end=Complete(result=b"r"))
    await elapse(20)
    await store.purge(part(store), 10)
    await start(store, a_start(attributes=(BLUE,)))
    assert await listed(store, RED) == set()


# -- what needs an operator -----------------------------------------------------------------------


async def stuck(store: Store, **conditions: object) -> set[str]:
    return await listed(store, stuck=True, **conditions)


@pytest.mark.parametrize(
    ("end", "outstanding", "needed"),
    [
        (FailCompensation(error=b"e"), 0, True),
        (FailCompensation(error=b"e"), 1, True),
        (Fail(error=b"e"), 1, True),
        (Fail(error=b"e"), 0, False),
        (Complete(result=b"r"), 1, False),
        (EndCancelled(), 1, False),
    ],
)
async def test_what_could_not_be_undone_needs_an_operator(
    store: Store, end: Fail | FailCompensation | Complete | EndCancelled, outstanding: int, needed: bool
) -> None:
    turn = await begin(store)
    await turn.commit(outstanding=1)
    assert await stuck(store) == set()
    await turn.commit(end=end, outstanding=outstanding)
    assert await stuck(store) == ({"e-1"} if needed else set())


async def test_an_end_by_time_while_cancelling_needs_an_operator(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=SHORT))
    await cancel(store)
    await turn.commit(opens=[a_sleep(after_ms=60_000)], outstanding=1, end=Suspend(), seen=1)
    await elapse(SHORT)
    await store.due(part(store), 10)
    assert (await record(store)).status is Status.CANCELLED
    assert await stuck(store) == {"e-1"}


async def test_a_cancel_that_was_obeyed_needs_none(store: Store) -> None:
    turn = await begin(store)
    await cancel(store)
    assert (await turn.commit(end=RetryAttempt(after_ms=1, error=b"e"), outstanding=1, seen=1)).released
    assert await stuck(store) == set()


async def test_a_forced_end_with_something_undone_needs_one(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(outstanding=1)
    await operate(store, Action.FORCE_FAIL)
    assert await stuck(store) == {"e-1"}


async def test_what_an_operator_has_reopened_is_stuck_no_more(store: Store) -> None:
    for id in ("e-1", "e-2"):
        turn = await begin(store, a_start(id, attributes=(RED,)))
        await turn.commit(end=Fail(error=b"e"), outstanding=1)
    assert await stuck(store) == await stuck(store, attributes=(RED,)) == {"e-1", "e-2"}
    assert await stuck(store, workflow="refund") == await stuck(store, status=Status.CANCELLED) == set()
    assert await stuck(store, status=Status.FAILED, workflow="order") == {"e-1", "e-2"}
    await operate(store, Action.ROLLBACK)
    assert await stuck(store) == {"e-2"}
    turn = await claim(store)
    await turn.commit(end=EndCancelled(), outstanding=0)
    assert await stuck(store) == {"e-2"}


async def test_stuck_ones_come_in_pages_and_go_with_their_retention(store: Store, elapse: Elapse) -> None:
    for number in range(3):
        turn = await begin(store, a_start(f"e-{number}", retention_ms=5))
        await turn.commit(end=FailCompensation(error=b"e"))
        await elapse(2)
    page = await store.executions(Filter(stuck=True, limit=2))
    assert [one.id for one in page.executions] == ["e-2", "e-1"]
    page = await store.executions(Filter(stuck=True, limit=2, cursor=page.cursor))
    assert ([one.id for one in page.executions], page.cursor) == (["e-0"], None)
    await elapse(20)
    for partition in range(store.partitions):
        await store.purge(partition, 10)
    assert await stuck(store) == set()
