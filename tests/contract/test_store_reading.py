"""Reading and listing: newest first, page by page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.records import Execution, Filter, Status
from runner.store import Store
from runner.transactions import Complete, Fail, Suspend
from tests.contract.kit import Elapse, a_start, a_wait, begin, cancel, claim, history, part, record, signal, start


async def every_page(store: Store, filter: Filter) -> list[list[Execution]]:
    pages = []
    while True:
        page = await store.executions(filter)
        pages.append(list(page.executions))
        if page.cursor is None:
            return pages
        assert len(pages) < 100, "the cursor goes round in circles"
        filter = replace(filter, cursor=page.cursor)


async def ids(store: Store, **conditions: object) -> set[str]:
    page = await store.executions(Filter(**{"limit": 100, **conditions}))  # type: ignore[arg-type]
    assert page.cursor is None
    return {e.id for e in page.executions}


async def test_what_is_not_there_reads_as_none(store: Store) -> None:
    assert await store.read("nobody") is None
    assert await store.record("nobody") is None
    page = await store.executions(Filter())
    assert (page.executions, page.cursor) == ((), None)


async def test_record_and_history_agree(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    before = await store.now()
    found = await history(store)
    assert before <= found.now <= await store.now()
    assert found.execution == await record(store)
    (listed,) = (await store.executions(Filter())).executions
    assert listed == found.execution


async def test_newest_first(store: Store, elapse: Elapse) -> None:
    for i in range(5):
        await start(store, a_start(f"e-{i}"))
        await elapse(2)
    page = await store.executions(Filter())
    assert [e.id for e in page.executions] == [f"e-{i}" for i in reversed(range(5))]


@pytest.mark.parametrize("filter", [Filter(limit=4), Filter(limit=4, workflow="order", status=Status.PENDING)])
async def test_pages_hold_everything_once(store: Store, elapse: Elapse, filter: Filter) -> None:
    """Also among executions of the same millisecond, over all partitions."""
    await store.start([a_start(f"e-{i}") for i in range(7)])
    await elapse(2)
    await store.start([a_start(f"f-{i}") for i in range(5)])
    pages = await every_page(store, filter)
    assert [len(p) for p in pages] == [4, 4, 4], "no empty last page"
    seen = [e for page in pages for e in page]
    assert len({e.id for e in seen}) == 12
    times = [e.created_at for e in seen]
    assert times == sorted(times, reverse=True)
    assert {e.id[0] for e in seen[:5]} == {"f"}


async def test_pages_are_stable_while_others_are_started(store: Store, elapse: Elapse) -> None:
    for i in range(6):
        await start(store, a_start(f"e-{i}"))
        await elapse(2)
    first = await store.executions(Filter(limit=2))
    await store.start([a_start(f"new-{i}") for i in range(5)])
    second = await store.executions(Filter(limit=2, cursor=first.cursor))
    await elapse(2)
    await store.start([a_start(f"newer-{i}") for i in range(5)])
    third = await store.executions(Filter(limit=2, cursor=second.cursor))
    shown = [e.id for page in (first, second, third) for e in page.executions]
    assert shown == [f"e-{i}" for i in reversed(range(6))]
    assert third.cursor is None


async def test_filters_hold_together(store: Store, elapse: Elapse) -> None:
    await store.start([a_start("old-order"), a_start("old-refund", workflow="refund")])
    await elapse(5)
    middle = await store.now()
    await elapse(5)
    await store.start([a_start("new-order"), a_start("new-refund", workflow="refund")])
    await claim(store, "new-order")
    assert await ids(store) == {"old-order", "old-refund", "new-order", "new-refund"}
    assert await ids(store, workflow="order") == {"old-order", "new-order"}
    assert await ids(store, status=Status.RUNNING) == {"new-order"}
    assert await ids(store, status=Status.PENDING) == {"old-order", "old-refund", "new-refund"}
    assert await ids(store, status=Status.PENDING, workflow="order") == {"old-order"}
    assert await ids(store, created_after=middle) == {"new-order", "new-refund"}
    assert await ids(store, created_before=middle) == {"old-order", "old-refund"}
    assert await ids(store, created_before=middle, workflow="refund") == {"old-refund"}
    assert await ids(store, created_after=middle, workflow="refund", status=Status.PENDING) == {"new-refund"}
    assert await ids(store, created_after=middle, created_before=middle) == set()
    assert await ids(store, workflow="unknown") == set()


async def test_the_status_index_follows_every_move(store: Store, elapse: Elapse) -> None:
    async def only(status: Status) -> None:
        for one in Status:
            assert await ids(store, status=one) == ({"e-1"} if one is status else set()), one

    await start(store, a_start())
    await only(Status.PENDING)
    turn = await claim(store)
    await only(Status.RUNNING)
    await turn.commit(opens=[a_wait()], end=Suspend())
    await only(Status.SLEEPING)
    await signal(store)
    turn = await claim(store)
    await store.release("e-1", turn.nonce)
    await only(Status.PENDING)
    turn = await claim(store)
    await cancel(store)
    await only(Status.CANCELLING)
    await turn.commit(end=Fail(error=b"e"), seen=2)
    await only(Status.CANCELLED)


async def test_what_was_purged_is_listed_no_more(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(retention_ms=10))
    await turn.commit(end=Complete(result=b""))
    await elapse(20)
    await store.purge(part(store), 10)
    assert await ids(store) == set()
    assert await ids(store, status=Status.COMPLETED, workflow="order") == set()
