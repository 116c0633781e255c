"""Listings, trees, trails and recovery: finding executions, and knowing of each what moves it on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from runner import App, Context, Status, SyncClient, UnknownExecution, UsageError
from runner.codec import encode
from runner.messages import Hint
from runner.records import AuditEntry
from runner.store import GRACE_MS
from runner.transactions import Complete, Open, RetryAttempt, Start, Suspend
from tests.integration.by_hand import claimed, done

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def idle(run, app: App):
    """A namespace in which nobody works."""

    @app.workflow("order")
    async def order(ctx: Context) -> str:
        return "done"

    @app.workflow("refund")
    async def refund(ctx: Context) -> None: ...

    return run(app, workers=0, scheduler=False)


def ids(page) -> list[str]:
    return [execution.id for execution in page.executions]


# -- listing ------------------------------------------------------------------------------------------


async def test_conditions_hold_together(idle):
    async with idle as fleet:
        client = fleet.client
        for number in range(6):
            attributes = {"customer": "ann" if number % 2 else "bob", "vip": number > 2, "n": number}
            workflow = "order" if number < 5 else "refund"
            await client.start(workflow, id=f"e{number}", attributes=attributes)
        turn = await claimed(fleet.store, "e1")
        await turn.commit(end=Complete(result=encode("done")))
        assert ids(await client.executions(attributes={"customer": "ann"})) == ["e5", "e3", "e1"]
        assert ids(await client.executions(attributes={"customer": "ann", "vip": True})) == ["e5", "e3"]
        assert ids(await client.executions(attributes={"customer": "ann"}, workflow="order")) == ["e3", "e1"]
        assert ids(await client.executions(attributes={"customer": "ann"}, status="completed")) == ["e1"]
        assert ids(await client.executions(attributes={"n": 3})) == ["e3"]
        assert ids(await client.executions(attributes={"n": 3.0})) == [], "another type is another value"
        assert ids(await client.executions(attributes={"n": "3"})) == []
        assert dict((await client.execution("e4")).attributes) == {"customer": "bob", "vip": True, "n": 4}
        soon = datetime.now(UTC) + timedelta(minutes=1)
        assert ids(await client.executions(attributes={"vip": True}, created_after=soon)) == []
        assert len(ids(await client.executions(created_before=soon))) == 6


async def test_pages_of_an_attribute_follow_each_other(idle):
    async with idle as fleet:
        for number in range(5):
            await fleet.client.start("order", id=f"e{number}", attributes={"customer": "ann"})
            await fleet.client.start("order", attributes={"customer": "bob"})
        found, cursor = [], None
        while True:
            page = await fleet.client.executions(attributes={"customer": "ann"}, limit=2, cursor=cursor)
            found += ids(page)
            cursor = page.cursor
            if cursor is None:
                break
        assert found == ["e4", "e3", "e2", "e1", "e0"]


@pytest.mark.parametrize(
    "filters",
    [{"status": "asleep"}, {"attributes": {"a b": 1}}, {"attributes": {"a": None}}, {"limit": 0}, {"cursor": "?"}],
)
async def test_filters_that_mean_nothing_are_refused(idle, filters):
    async with idle as fleet:
        with pytest.raises(UsageError):
            await fleet.client.executions(**filters)
        with pytest.raises(TypeError, match="colour"):
            await fleet.client.executions(colour="red")


async def test_attributes_that_cannot_be_found_by_are_refused_before_anything_starts(idle):
    async with idle as fleet:
        with pytest.raises(UsageError, match="attributes"):
            await fleet.client.start("order", attributes={"items": [1]})
        assert ids(await fleet.client.executions()) == []


# -- trees and trails -----------------------------------------------------------------------------------


async def test_a_tree_shows_children_and_theirs_and_those_that_are_not_there(idle):
    async with idle as fleet:
        client = fleet.client
        for parent, children in (("root", ["left", "right"]), ("left", ["leaf", "nobody"])):
            await client.start("order", id=parent)
            turn = await claimed(fleet.store, parent)
            await turn.commit(children=tuple((child, "cancel") for child in children))
        for child in ("right", "leaf"):
            await client.start("refund", id=child)
        tree = await client.tree("root")
        assert tree.id == "root" and tree.execution is not None and tree.execution.workflow == "order"
        left, right = tree.children
        assert (left.id, right.id, right.children, right.policy) == ("left", "right", (), "cancel")
        assert [(one.id, one.execution is None) for one in left.children] == [("leaf", False), ("nobody", True)]
        assert tree.complete and left.complete
        with pytest.raises(UnknownExecution):
            await client.tree("nobody")


async def test_a_tree_that_is_too_large_says_so(idle, monkeypatch):
    monkeypatch.setattr("runner.tree.MAX_NODES", 3)
    async with idle as fleet:
        await fleet.client.start("order", id="root")
        turn = await claimed(fleet.store, "root")
        await turn.commit(children=tuple((f"c{number}", "abandon") for number in range(4)))
        tree = await fleet.client.tree("root")
        assert ([child.id for child in tree.children], tree.complete) == (["c0", "c1"], False)


async def test_a_trail_is_read_with_what_notes_were_given(idle):
    async with idle as fleet:
        await fleet.client.start("order", id="e1")
        turn = await claimed(fleet.store, "e1")
        fields = {"id": "n", "message": "checked", "fields": encode({"by": "ann"})}
        await turn.commit(audit=(AuditEntry(execution_id="e1", at=1, kind="note", fields=fields),))
        lines = await fleet.client.audit("e1")
        assert [line.kind for line in lines] == ["created", "status", "note"]
        assert dict(lines[-1].fields) == {"id": "n", "message": "checked", "fields": {"by": "ann"}}
        with pytest.raises(UnknownExecution):
            await fleet.client.audit("nobody")


async def test_an_execution_without_a_trail_is_watched_by_its_status(idle):
    async with idle as fleet:
        start = Start(id="e1", request="r", workflow="order", version=1, queue="default", input=b"", digest="", audit=0)
        await fleet.store.start([start])
        assert await fleet.client.audit("e1") == ()
        watched = fleet.client.watch("e1")
        assert (await anext(watched)).fields == {"from": "", "to": "pending"}
        turn = await claimed(fleet.store, "e1")
        assert (await anext(watched)).fields == {"from": "pending", "to": "running"}
        await turn.commit(end=Complete(result=encode("done")))
        assert [line.fields["to"] async for line in watched] == ["completed"]


async def test_the_blocking_client_has_the_same_calls(run, app, backend):
    @app.workflow("order", max_attempts=1)
    async def order(ctx: Context) -> str:
        raise RuntimeError("no luck")

    def look() -> None:
        with SyncClient(app, backend.store_url, backend.broker_url) as client:
            handle = client.start("order", attributes={"customer": "ann"})
            assert [one.id for one in client.executions(attributes={"customer": "ann"}).executions] == [handle.id]
            assert client.operator.force_fail(handle.id, "enough", actor="ann") is Status.FAILED
            assert [line.fields["to"] for line in handle.watch() if line.kind == "status"] == ["failed"]
            detail = handle.detail()
            assert detail.error is not None and detail.error.message == "enough"
            assert client.tree(handle.id).id == handle.id and client.steps(handle.id) == ()
            assert client.operator.retry(handle.id, actor="ann") is Status.PENDING
            assert client.audit(handle.id)[-1].fields["to"] == "pending"
            assert client.recover().failed == 0

    await asyncio.to_thread(look)


# -- recovery -----------------------------------------------------------------------------------------


async def sleeping(fleet, id: str, **wait) -> None:
    await fleet.client.start("order", id=id)
    turn = await claimed(fleet.store, id)
    await turn.commit(opens=(Open(id="w", **wait),), end=Suspend())


async def test_recovery_wakes_what_is_due_and_leaves_the_rest_alone(idle, monkeypatch):
    async with idle as fleet:
        client, store = fleet.client, fleet.store
        await sleeping(fleet, "due", kind="sleep", after_ms=200)
        await sleeping(fleet, "later", kind="sleep", after_ms=3_600_000)
        await sleeping(fleet, "idle", kind="signal", name="go")
        for id, after_ms in (("again", 0), ("again-later", 3_600_000)):
            await client.start("order", id=id)
            turn = await claimed(store, id)
            await turn.commit(end=RetryAttempt(after_ms=after_ms, error=b""))
        await client.start("order", id="owned")
        await claimed(store, "owned")
        await client.start("order", id="cancelling")
        turn = await claimed(store, "cancelling")
        await turn.commit(end=Suspend())
        await client.cancel("cancelling")
        await client.start("order", id="ended")
        turn = await claimed(store, "ended")
        await turn.commit(entries=(done(1, "a"),), end=Complete(result=encode("done")))
        await client.start("order", id="pending")
        await overdue(store)

        told: list[str] = []

        async def publish_many(hints: list[tuple[str, Hint]]) -> int:
            told.extend(hint.execution_id for _, hint in hints)
            return len(hints)

        monkeypatch.setattr(fleet.broker, "publish_many", publish_many)
        first, second = await asyncio.gather(client.recover(), client.recover())
        assert sorted(told) == ["again", "cancelling", "due", "pending"], "each once, by one of the two"
        assert first.recovered + second.recovered == 4 and first.failed == second.failed == 0
        report = await client.recover()
        assert (report.recovered, report.complete) == (0, True)
        reasons = {reason.partition(":")[0]: count for reason, count in report.skipped.items()}
        assert reasons == {
            "ended": 1,
            "a worker has it": 1,
            "waits": 3,
            "pauses before a retry": 2,
            "ready, delayed or waiting": 2,
        }


async def test_hints_that_the_broker_does_not_take_are_counted(idle, monkeypatch):
    async with idle as fleet:
        await fleet.client.start("order", id="pending")
        await overdue(fleet.store)

        async def publish_many(hints: list[tuple[str, Hint]]) -> int:
            return 0

        monkeypatch.setattr(fleet.broker, "publish_many", publish_many)
        report = await fleet.client.recover()
        assert (report.recovered, report.failed) == (0, 1)


async def overdue(store) -> None:
    """Until what became ready just now has waited its grace."""
    until = await store.now() + GRACE_MS
    while await store.now() <= until:
        await asyncio.sleep(0.05)
