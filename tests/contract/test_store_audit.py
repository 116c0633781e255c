"""The audit trail: what the store writes into it, what it is given, how long it grows, and who is told."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from runner.records import AuditEntry, Plain
from runner.store import Store
from runner.transactions import (
    Action,
    Complete,
    ContinueAsNew,
    Fail,
    RetryAttempt,
    Suspend,
)
from tests.contract.kit import (
    SHORT,
    Elapse,
    a_notice,
    a_row,
    a_signal,
    a_start,
    a_wait,
    an_entry,
    begin,
    cancel,
    claim,
    operate,
    part,
    signal,
    start,
)

Line = tuple[str, dict[str, Plain]]


def lines(rows: Iterable[AuditEntry]) -> list[Line]:
    return [(row.kind, dict(row.fields)) for row in rows]


async def trail(store: Store, id: str = "e-1") -> list[Line]:
    return lines(await store.audit(id))


def moved(before: str, after: str, **more: Plain) -> Line:
    return "status", {"from": before, "to": after, **more}


CREATED: Line = ("created", {"workflow": "order", "version": 1, "parent": ""})
CLAIMED = moved("pending", "running", worker="w-1")


async def test_a_life_leaves_its_lines(store: Store, elapse: Elapse) -> None:
    first = await store.now()
    answer = await start(store, a_start())
    assert lines(answer.rows) == [CREATED]
    turn = await claim(store)
    assert lines(turn.history.rows) == [CLAIMED]
    suspended = await turn.commit(opens=[a_wait()], audit=[a_row(text="hello"), a_row("other", n=1)], end=Suspend())
    assert lines(suspended.rows) == [
        ("note", {"text": "hello"}),
        ("other", {"n": 1}),
        moved("running", "sleeping"),
    ]
    delivered = await signal(store, name="approved")
    assert lines(delivered.rows) == [("delivered", {"kind": "signal", "name": "approved"})]
    await elapse(5)
    turn = await claim(store)
    assert lines(turn.history.rows) == [moved("sleeping", "running", worker="w-1")]
    ended = await turn.commit(end=Complete(result=b"r"))
    assert lines(ended.rows) == [moved("running", "completed", cause="")]
    parts = (answer.rows, (await trail(store))[1:2], suspended.rows, delivered.rows, turn.history.rows, ended.rows)
    rows = await store.audit("e-1")
    assert len(rows) == sum(len(one) for one in parts)
    assert rows[0] == answer.rows[0]
    assert (rows[2], rows[-1]) == (a_row(text="hello"), ended.rows[0]), "what was given is kept as it is"
    assert {row.execution_id for row in rows} == {"e-1"}
    assert first <= rows[0].at <= rows[1].at < rows[-1].at == ended.now


async def test_what_is_not_there_has_no_trail(store: Store) -> None:
    assert await store.audit("nobody") == ()


async def test_a_child_names_its_parent(store: Store) -> None:
    answer = await start(store, a_start("c-1", parent="e-1", parent_run=1, workflow="refund", version=3))
    assert lines(answer.rows) == [("created", {"workflow": "refund", "version": 3, "parent": "e-1"})]


async def test_each_start_of_a_batch_has_its_own_lines_and_parcels(store: Store) -> None:
    turn = await begin(store, a_start("known"))
    await turn.commit(end=Complete(result=b"r"))
    known, fresh = await store.start([a_start("known", parent="p-1", parent_run=1), a_start("fresh")])
    assert ([p.outgoing.request for p in known.parcels], known.rows) == (["ended:known:0"], ())
    assert (fresh.parcels, lines(fresh.rows)) == ((), [CREATED])
    again, newer = await store.start([a_start("newer"), a_start("newest")])
    assert [[row.execution_id for row in one.rows] for one in (again, newer)] == [["newer"], ["newest"]]


async def test_fields_come_back_as_they_were(store: Store) -> None:
    turn = await begin(store)
    fields: dict[str, Plain] = {
        "text": "\N{SNOWMAN}",
        "blob": bytes(range(256)),
        "big": 2**53 + 1,
        "negative": -5,
        "real": 0.5,
        "yes": True,
        "none": None,
    }
    row = AuditEntry(execution_id="e-1", at=1_700_000_000_123, kind="note", fields=fields)
    bare = AuditEntry(execution_id="e-1", at=1_700_000_000_124, kind="bare")
    await turn.commit(audit=[row, bare])
    assert (await store.audit("e-1"))[-2:] == (row, bare)


# -- moves ----------------------------------------------------------------------------------------


async def test_cancels_and_notices_have_lines(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    assert lines((await store.deliver(a_notice("c-1"))).rows) == [("delivered", {"kind": "ended", "name": "c-1"})]
    assert lines((await cancel(store, reason="enough")).rows) == [
        ("cancel", {"reason": "enough"}),
        moved("sleeping", "cancelling"),
    ]
    assert (await cancel(store)).rows == ()
    await start(store, a_start("e-2"))
    assert lines((await cancel(store, "e-2", reason="early")).rows) == [
        ("cancel", {"reason": "early"}),
        moved("pending", "cancelled", cause=""),
    ]


async def test_what_is_dropped_has_no_line(store: Store) -> None:
    await begin(store)
    before = await trail(store)
    assert (await store.deliver(a_notice("c-1", run=7))).rows == ()
    assert await trail(store) == before


async def test_time_has_lines(store: Store, elapse: Elapse) -> None:
    await begin(store, a_start(timeout_ms=2 * SHORT), lease_ms=SHORT)
    await elapse(SHORT)
    reaped = await store.reap(part(store), 10, [])
    assert lines(reaped.rows) == [moved("running", "pending")]
    await elapse(SHORT)
    woken = await store.due(part(store), 10)
    assert lines(woken.rows) == [moved("pending", "failed", cause="timed_out")]
    assert [row.execution_id for row in woken.rows] == ["e-1"]
    assert (await trail(store))[-2:] == [*lines(reaped.rows), *lines(woken.rows)]


async def test_retries_releases_and_runs_have_lines(store: Store) -> None:
    turn = await begin(store)
    retried = await turn.commit(end=RetryAttempt(after_ms=0, error=b"e"))
    assert lines(retried.rows) == [moved("running", "retrying")]
    await store.due(part(store), 10)
    turn = await claim(store)
    await store.release("e-1", turn.nonce)
    assert (await trail(store))[-1] == moved("running", "pending")
    turn = await claim(store)
    continued = await turn.commit(audit=[a_row("continued", run=1)], end=ContinueAsNew(input=b"i"))
    assert lines(continued.rows) == [("continued", {"run": 1}), moved("running", "pending")]
    assert (await trail(store))[0] == CREATED, "it outlives runs"


async def test_no_move_no_line(store: Store) -> None:
    turn = await begin(store)
    await cancel(store)
    assert lines((await turn.commit(audit=[a_row()], end=Suspend(), seen=0)).rows) == [("note", {})], "refused"
    assert (await turn.commit(end=Suspend(), seen=1)).rows == ()
    await signal(store)
    assert (await claim(store)).history.rows == (), "it is cancelling still"


async def test_an_operator_is_named(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(end=Fail(error=b"e"))
    answer = await operate(store, Action.RETRY)
    assert lines(answer.rows) == [("operator", {"action": "retry", "actor": "ann"}), moved("failed", "pending")]
    row = a_row("operator", step="charge")
    answer = await operate(store, Action.RECORD, entry=an_entry(), audit=row)
    assert answer.rows == (row,), "as it is, and no other of the same act"
    assert (await store.audit("e-1"))[-len(answer.rows) :] == answer.rows
    answer = await operate(store, Action.FORCE_FAIL)
    assert lines(answer.rows) == [
        ("operator", {"action": "force_fail", "actor": "ann"}),
        moved("pending", "failed", cause="forced"),
    ]


async def test_repeats_have_no_lines(store: Store) -> None:
    asked, sent = a_start(), a_signal()
    await start(store, asked)
    await store.deliver(sent)
    before = await trail(store)
    assert (await start(store, asked)).rows == ()
    assert (await start(store, a_start())).rows == ()
    assert (await store.deliver(sent)).rows == ()
    assert await trail(store) == before
    claimed = await store.claim("e-1", "mine", "w-1", 60_000)
    again = await store.claim("e-1", "mine", "w-1", 60_000)
    assert len(getattr(claimed, "rows", ())) == 1
    assert getattr(again, "rows", None) == ()


# -- length ---------------------------------------------------------------------------------------


async def test_the_last_lines_are_kept(store: Store) -> None:
    turn = await begin(store, a_start(audit=10))
    for number in range(60):
        await turn.commit(audit=[a_row(n=number), a_row(n=-number)])
    kept = await trail(store)
    assert 10 <= len(kept) <= 60, "a little more may be kept"
    numbers = [n for number in range(60) for n in (number, -number)]
    assert [fields["n"] for _, fields in kept] == numbers[-len(kept) :]


@pytest.mark.parametrize("end", [None, Complete(result=b"r")])
async def test_who_keeps_no_trail_tells_all_the_same(store: Store, end: Complete | None) -> None:
    answer = await start(store, a_start(audit=0))
    assert lines(answer.rows) == [CREATED]
    turn = await claim(store)
    assert lines(turn.history.rows) == [CLAIMED]
    assert a_row() in (await turn.commit(audit=[a_row()], end=end)).rows
    assert await store.audit("e-1") == ()


async def test_a_purge_takes_the_trail_along(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(retention_ms=5))
    await turn.commit(end=Complete(result=b"r"))
    await elapse(20)
    await store.purge(part(store), 10)
    assert await store.audit("e-1") == ()
    await start(store, a_start())
    assert await trail(store) == [CREATED]
