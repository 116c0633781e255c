"""Opening, starting, claiming, handing back, passing over: what every store guarantees."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from runner.errors import ConfigError
from runner.records import (
    Cause,
    Filter,
    History,
    Status,
)
from runner.store import GRACE_MS, PASS_FIRST_MS, PASS_LAST_MS, Store
from runner.transactions import (
    Complete,
    End,
    Reception,
    Refusal,
    RetryAttempt,
    Suspend,
)
from tests.contract.conftest import Backend
from tests.contract.kit import (
    LEASE,
    SHORT,
    Elapse,
    a_signal,
    a_sleep,
    a_start,
    a_wait,
    an_entry,
    begin,
    cancel,
    claim,
    history,
    index,
    nonce,
    part,
    record,
    signal,
    start,
)

#: What is in memory is gone with its store.
lasting = pytest.mark.parametrize("backend", ["sqlite-file", "redis"], indirect=True)

ODD_IDS = [
    "a",
    "order:42/part@2024-01-01T00:00:00+00:00",
    "with space and 'quotes\" and \\",
    "{hash}tag",
    "100%_*?[x]",
    "Zürich-東京-🚚",
    "x" * 200,
    "0",
    "-1",
    "null",
]


# -- opening --------------------------------------------------------------------------------------


async def test_closing_twice_is_harmless(backend: Backend) -> None:
    store = backend.store()
    await store.open()
    await store.close()
    await store.close()


@lasting
async def test_what_was_stored_is_there_after_reopening(backend: Backend) -> None:
    store = backend.store()
    await store.open()
    turn = await begin(store)
    await turn.commit(entries=[an_entry()], opens=[a_wait()], end=Suspend())
    await signal(store)
    before = await history(store)
    await store.close()
    store = backend.store()
    await store.open()
    after = await history(store)
    await store.close()
    assert (after.execution, after.entries, after.waits, after.inbox) == (
        before.execution,
        before.entries,
        before.waits,
        before.inbox,
    )


@lasting
async def test_another_number_of_partitions_is_refused(backend: Backend) -> None:
    store = backend.store(partitions=4)
    await store.open()
    await start(store, a_start())
    await store.close()
    other = backend.store(partitions=8)
    with pytest.raises(ConfigError, match="4"):
        await other.open()
    await other.close()


@lasting
async def test_namespaces_do_not_see_each_other(backend: Backend) -> None:
    first, second = backend.store(), backend.store(backend.namespace + "b")
    await first.open()
    await start(first, a_start(input=b"first"))
    await first.lead("n-1", "first", 60_000)
    await first.close()
    await second.open()
    assert await second.record("e-1") is None
    assert (await second.lead("n-2", "second", 60_000)).leading
    assert (await start(second, a_start(input=b"second"))).new
    page = [e.input for e in (await second.executions(Filter())).executions]
    await second.close()
    first = backend.store()
    await first.open()
    assert (await record(first)).input == b"first"
    await first.close()
    assert page == [b"second"]


async def test_the_clock_does_not_go_back(store: Store, elapse: Elapse) -> None:
    before = await store.now()
    await elapse(5)
    assert await store.now() >= before + 5


# -- start ----------------------------------------------------------------------------------------


async def test_a_start_is_pending_and_ready_with_a_grace(store: Store) -> None:
    asked = a_start(key="key-1", version=3, queue="urgent", timeout_ms=60_000)
    before = await store.now()
    answer = await start(store, asked)
    after = await store.now()
    assert (answer.new, answer.digest) == (True, "digest")
    assert answer.wake is not None
    wake = answer.wake
    assert (wake.id, wake.queue, wake.workflow, wake.version) == ("e-1", "urgent", "order", 3)
    found = await record(store)
    assert before <= found.created_at <= after
    assert found.deadline == found.created_at + 60_000
    assert (found.workflow, found.version, found.queue, found.input, found.digest, found.key) == (
        "order",
        3,
        "urgent",
        b"input",
        "digest",
        "key-1",
    )
    assert (found.status, found.run, found.attempt, found.crashes, found.cause) == (Status.PENDING, 1, 1, 0, Cause.NONE)
    assert (found.started_at, found.ended_at, found.lease_until, found.result, found.error) == (None,) * 5
    assert (found.worker, found.reason, found.passed, found.seq) == ("", "", "", wake.seq)
    grace = await index(store, "ready")
    assert grace is not None
    assert GRACE_MS - 500 <= grace <= GRACE_MS


async def test_a_repeated_start_answers_as_the_first_did(store: Store) -> None:
    asked = a_start()
    first = await start(store, asked)
    assert await start(store, asked) == replace(first, rows=())
    assert (await record(store)).seq == 1 == (first.wake and first.wake.seq)


async def test_a_repeated_start_stays_new_after_the_claim_but_needs_no_hint(store: Store) -> None:
    asked = a_start()
    turn = await begin(store, asked)
    again = await start(store, asked)
    assert (again.new, again.wake) == (True, None)
    await turn.commit(end=Complete(result=b"done"))
    again = await start(store, asked)
    assert (again.new, again.wake) == (True, None)
    assert (await record(store)).status is Status.COMPLETED


async def test_a_repeated_start_gives_no_hint_for_what_was_claimed_and_handed_back(store: Store) -> None:
    asked = a_start()
    turn = await begin(store, asked)
    await store.release("e-1", turn.nonce)
    assert (await record(store)).status is Status.PENDING
    assert (await start(store, asked)).wake is None
    assert (await start(store, a_start())).wake is None


async def test_an_id_that_exists_is_left_as_it_is(store: Store) -> None:
    await start(store, a_start(input=b"one", digest="d-one"))
    other = await start(store, a_start(input=b"two", digest="d-two", workflow="refund", queue="other"))
    assert (other.new, other.digest) == (False, "d-one")
    assert other.wake is not None, "its own publish may have been lost"
    found = await record(store)
    assert (found.input, found.workflow, found.queue) == (b"one", "order", "default")
    await claim(store)
    assert (await start(store, a_start())).wake is None


async def test_one_batch_with_new_known_and_repeated_starts(store: Store) -> None:
    known, repeated = a_start("known", digest="old"), a_start("repeated")
    await store.start([known, repeated])
    twin = a_start("twin")
    answers = await store.start(
        [
            a_start("new-1"),
            a_start("known", digest="other"),
            repeated,
            twin,
            a_start("twin", digest="later"),
            twin,
            a_start("new-2", delay_ms=60_000),
        ]
    )
    assert [a.new for a in answers] == [True, False, True, True, False, True, True]
    assert [a.digest for a in answers] == ["digest", "old", "digest", "digest", "digest", "digest", "digest"]
    assert [a.wake is not None for a in answers] == [True] * 6 + [False]
    assert await store.start([]) == []


async def test_starts_of_the_same_id_at_once_create_one(store: Store) -> None:
    answers = await asyncio.gather(*(start(store, a_start(digest=f"d{i}")) for i in range(10)))
    assert [a.new for a in answers].count(True) == 1
    assert len({a.digest for a in answers}) == 1


async def test_a_delayed_start_waits_for_its_time(store: Store, elapse: Elapse) -> None:
    answer = await start(store, a_start(delay_ms=SHORT, timeout_ms=10_000))
    assert (answer.new, answer.wake) == (True, None)
    found = await record(store)
    assert found.status is Status.PENDING
    assert found.deadline == found.created_at + SHORT + 10_000, "the deadline counts from when it may begin"
    assert await index(store, "ready") is None
    assert await store.claim("e-1", nonce(), "w", LEASE) is Refusal.IDLE
    early = await store.due(part(store), 10)
    assert (early.wakes, early.next_at) == ((), found.created_at + SHORT)
    await elapse(SHORT)
    woken = await store.due(part(store), 10)
    assert [w.id for w in woken.wakes] == ["e-1"]
    assert woken.wakes[0].seq == (await record(store)).seq
    await claim(store)


async def test_a_start_at_a_moment(store: Store, elapse: Elapse) -> None:
    now = await store.now()
    (later, past) = await store.start([a_start("later", at_ms=now + 60_000), a_start("past", at_ms=now - 60_000)])
    assert (later.wake, later.new) == (None, True)
    assert past.wake is not None
    assert (await store.due(part(store, "later"), 10)).next_at == now + 60_000


async def test_starts_do_not_share_payload_bytes(store: Store) -> None:
    everything = bytes(range(256)) * 4
    await store.start([a_start("full", input=everything), a_start("empty", input=b"")])
    assert (await record(store, "full")).input == everything
    assert (await record(store, "empty")).input == b""


async def test_a_journal_to_begin_with(store: Store) -> None:
    entries = (an_entry(1, "charge", payload=bytes(range(256))), an_entry(2, "nap", kind="sleep", tries=b"t"))
    await start(store, a_start(entries=entries, seed="origin"))
    turn = await claim(store)
    assert (turn.history.entries, turn.history.execution.seed) == (entries, "origin")
    await start(store, a_start(entries=(an_entry(3, "other"),)))
    assert (await history(store)).entries == entries, "an id that exists is left as it is"


@pytest.mark.parametrize("id", ODD_IDS, ids=range(len(ODD_IDS)))
async def test_odd_ids_live_a_whole_life(store: Store, id: str) -> None:
    everything = bytes(range(256))
    turn = await begin(store, a_start(id, workflow=id, queue=id, input=everything), worker=id)
    await turn.commit(entries=[an_entry(1, id, payload=everything)], opens=[a_wait("w:" + id, id)], end=Suspend())
    delivered = await store.deliver(a_signal(id, name=id, payload=everything, request=id))
    assert delivered.wake is not None
    assert delivered.wake.id == delivered.wake.queue == delivered.wake.workflow == id
    assert (await store.deliver(a_signal(id, name=id, request=id))).reception is Reception.DELIVERED
    turn = await claim(store, id)
    assert [(e.id, e.payload) for e in turn.history.entries] == [(id, everything)]
    assert [(w.id, w.name) for w in turn.history.waits] == [("w:" + id, id)]
    assert [(i.name, i.payload) for i in turn.history.inbox] == [(id, everything)]
    await turn.commit(entries=[an_entry(2, "w:" + id, kind="signal", consumes=0)], end=Complete(result=everything))
    found = await history(store, id)
    assert (found.execution.id, found.execution.result, found.waits) == (id, everything, ())


# -- claim ----------------------------------------------------------------------------------------


async def test_a_claim_takes_the_lease_and_reads_everything(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(2), an_entry(1)], opens=[a_wait(), a_sleep(after_ms=60_000)], end=Suspend())
    await signal(store, payload=b"1")
    await signal(store, payload=b"2")
    before = await store.now()
    turn = await claim(store, worker="w-2", lease_ms=5_000)
    after = await store.now()
    seen, execution = turn.history, turn.history.execution
    assert (execution.status, execution.worker) == (Status.RUNNING, "w-2")
    assert before <= seen.now <= after
    assert execution.lease_until == seen.now + 5_000
    assert [e.number for e in seen.entries] == [1, 2]
    assert {w.id for w in seen.waits} == {"approval", "nap"}
    assert [(i.index, i.kind, i.payload) for i in seen.inbox] == [(0, "signal", b"1"), (1, "signal", b"2")]
    assert await index(store, "ready") is None
    assert await index(store, "timers") is None
    assert await index(store, "leases") is not None
    stored = await history(store)
    assert (stored.execution, stored.entries, stored.waits, stored.inbox) == (
        execution,
        seen.entries,
        seen.waits,
        seen.inbox,
    )


async def test_the_first_claim_is_when_it_started(store: Store, elapse: Elapse) -> None:
    turn = await begin(store)
    first = turn.history.execution.started_at
    assert first == turn.history.now
    await store.release("e-1", turn.nonce)
    await elapse(10)
    turn = await claim(store)
    assert turn.history.execution.started_at == first


async def test_a_repeated_claim_answers_afresh(store: Store, elapse: Elapse) -> None:
    await start(store, a_start())
    mine = nonce()
    first = await store.claim("e-1", mine, "w", LEASE)
    await signal(store)
    await elapse(20)
    again = await store.claim("e-1", mine, "w", LEASE)
    assert isinstance(first, History)
    assert isinstance(again, History)
    assert (len(first.inbox), len(again.inbox)) == (0, 1)
    assert again.execution.status is Status.RUNNING
    assert again.now >= first.now + 20
    assert again.execution.lease_until == again.now + LEASE, "the worker trusts the lease from this answer on"


async def test_a_claim_is_refused(store: Store) -> None:
    assert await store.claim("nobody", nonce(), "w", LEASE) is Refusal.UNKNOWN
    turn = await begin(store)
    assert await store.claim("e-1", nonce(), "w", LEASE) is Refusal.OWNED
    await turn.commit(opens=[a_wait()], end=Suspend())
    assert await store.claim("e-1", nonce(), "w", LEASE) is Refusal.IDLE
    await signal(store)
    turn = await claim(store)
    await turn.commit(end=Complete(result=b""))
    assert await store.claim("e-1", nonce(), "w", LEASE) is Refusal.TERMINAL
    assert await store.claim("e-1", turn.nonce, "w", LEASE) is Refusal.TERMINAL


async def test_a_lease_that_ran_out_is_owned_until_it_is_reaped(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, lease_ms=30)
    await elapse(60)
    assert await store.claim("e-1", nonce(), "w", LEASE) is Refusal.OWNED
    assert await turn.ask(entries=[an_entry()]) is not None
    assert (await record(store)).lease_until is not None


async def test_claims_at_once_give_one_owner(store: Store) -> None:
    await start(store, a_start())
    answers = await asyncio.gather(*(store.claim("e-1", nonce(), f"w-{i}", LEASE) for i in range(10)))
    assert [isinstance(a, History) for a in answers].count(True) == 1
    assert [a for a in answers if a is not Refusal.OWNED and not isinstance(a, History)] == []


async def test_a_claim_past_the_deadline_ends_it(store: Store, elapse: Elapse) -> None:
    await start(store, a_start(timeout_ms=30))
    ended = await store.subscribe("ended/e-1")
    await elapse(40)
    assert await store.claim("e-1", nonce(), "w", LEASE) is Refusal.TERMINAL
    found = await record(store)
    assert (found.status, found.cause, found.lease_until) == (Status.FAILED, Cause.TIMED_OUT, None)
    assert found.ended_at is not None
    assert await ended.next(5) == "failed"
    await ended.close()
    assert await index(store, "ready") is None
    assert await index(store, "timers") is None
    assert await index(store, "expiry") is not None


# -- release --------------------------------------------------------------------------------------


async def test_a_release_hands_back_without_a_crash(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry()], opens=[a_sleep(after_ms=60_000)])
    seq = (await record(store)).seq
    wake = await store.release("e-1", turn.nonce)
    assert wake is not None
    assert (wake.id, wake.queue, wake.workflow, wake.version) == ("e-1", "default", "order", 1)
    assert wake.seq > seq
    found = await history(store)
    assert (found.execution.status, found.execution.crashes, found.execution.seq) == (Status.PENDING, 0, wake.seq)
    assert found.execution.lease_until is None
    assert len(found.entries) == len(found.waits) == 1
    assert await index(store, "leases") is None
    grace = await index(store, "ready")
    assert grace is not None
    assert grace > 0
    assert await store.release("e-1", turn.nonce) is None
    assert (await record(store)).seq == wake.seq
    await claim(store)


async def test_a_late_claim_does_not_take_again_what_was_given_back(store: Store) -> None:
    turn = await begin(store)
    await store.release("e-1", turn.nonce)
    assert await store.claim("e-1", turn.nonce, "w-1", LEASE) is Refusal.IDLE
    assert (await record(store)).status is Status.PENDING
    await claim(store)


async def test_a_release_needs_the_lease(store: Store) -> None:
    turn = await begin(store)
    assert await store.release("e-1", nonce()) is None
    assert await store.release("nobody", turn.nonce) is None
    assert (await record(store)).status is Status.RUNNING
    await turn.commit(opens=[a_wait()], end=Suspend())
    assert await store.release("e-1", turn.nonce) is None
    assert (await record(store)).status is Status.SLEEPING


async def test_a_released_turn_cannot_write(store: Store) -> None:
    turn = await begin(store)
    await store.release("e-1", turn.nonce)
    assert await turn.ask(entries=[an_entry()], end=Complete(result=b"late")) is None
    found = await history(store)
    assert (found.execution.status, found.entries) == (Status.PENDING, ())


async def test_a_release_while_cancelling_stays_cancelling(store: Store) -> None:
    turn = await begin(store)
    await cancel(store)
    assert await store.release("e-1", turn.nonce) is not None
    assert (await record(store)).status is Status.CANCELLING
    assert (await claim(store)).history.execution.status is Status.CANCELLING


# -- pass -----------------------------------------------------------------------------------------


async def test_passing_over_backs_off_to_a_limit_and_keeps_the_reason(store: Store) -> None:
    await start(store, a_start())
    expected, delay = [], PASS_FIRST_MS
    for _ in range(7):
        expected.append(min(delay, PASS_LAST_MS))
        delay *= 2
    seen = []
    for turn in range(7):
        await store.pass_over("e-1", f"reason {turn}")
        seen.append(await index(store, "ready"))
    for wanted, got in zip(expected, seen, strict=True):
        assert got is not None
        assert wanted - 500 <= got <= wanted
    found = await record(store)
    assert (found.passed, found.status, found.crashes) == ("reason 6", Status.PENDING, 0)


async def passed_over(store: Store, reason: str = "broken turn") -> int:
    """The delay that passing over makes now, in whole seconds."""
    await store.pass_over("e-1", reason)
    delay = await index(store, "ready")
    assert delay is not None
    return -(-delay // 1_000)


async def test_the_next_claim_forgets_the_reason_and_not_the_backoff(store: Store) -> None:
    await start(store, a_start())
    delays = []
    for _ in range(6):
        turn = await claim(store)
        assert turn.history.execution.passed == ""
        await store.release("e-1", turn.nonce)
        assert await store.rush([("order", 1)], 10) == [], "claimed and given back: it is not passed over any more"
        delays.append(await passed_over(store))
        assert (await record(store)).passed == "broken turn"
    assert delays == [1, 2, 4, 8, 16, 30]


async def test_what_was_claimed_since_is_lost_and_not_passed_over(store: Store, elapse: Elapse) -> None:
    await start(store, a_start())
    await store.pass_over("e-1", "unknown")
    turn = await claim(store)
    await store.release("e-1", turn.nonce)
    await elapse(GRACE_MS + 10)
    found = await store.overdue(part(store), 10, 5_000)
    assert ([w.id for w in found.lost], found.passed) == (["e-1"], ())


async def test_an_entry_forgets_the_backoff_and_a_bare_commit_does_not(store: Store) -> None:
    await start(store, a_start())
    assert [await passed_over(store) for _ in range(3)] == [1, 2, 4]
    turn = await claim(store)
    await turn.commit(opens=[a_wait()])
    await store.release("e-1", turn.nonce)
    assert await passed_over(store) == 8
    turn = await claim(store)
    await turn.commit(entries=[an_entry()])
    await store.release("e-1", turn.nonce)
    assert [await passed_over(store) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("end", [Suspend(), RetryAttempt(after_ms=0, error=b"again", drop=())])
async def test_an_end_forgets_the_backoff(store: Store, end: End) -> None:
    await start(store, a_start())
    assert [await passed_over(store) for _ in range(3)] == [1, 2, 4]
    turn = await claim(store)
    await turn.commit(opens=[a_wait()], end=end)
    await (signal(store) if isinstance(end, Suspend) else store.due(part(store), 10))
    assert await passed_over(store) == 1


async def test_only_a_ready_execution_is_passed_over(store: Store) -> None:
    await store.pass_over("nobody", "no")
    turn = await begin(store)
    await store.pass_over("e-1", "owned")
    assert ((await record(store)).passed, await index(store, "ready")) == ("", None)
    await turn.commit(opens=[a_wait()], end=Suspend())
    await store.pass_over("e-1", "asleep")
    assert ((await record(store)).passed, await index(store, "ready")) == ("", None)
    await signal(store)
    turn = await claim(store)
    await turn.commit(end=Complete(result=b""))
    await store.pass_over("e-1", "over")
    assert ((await record(store)).passed, await index(store, "ready")) == ("", None)


async def test_rush_offers_what_a_new_worker_knows(store: Store) -> None:
    starts = [a_start(f"a-{i}", workflow="a", queue="qa") for i in range(5)]
    starts += [a_start("a-v2", workflow="a", version=2), a_start("b-1", workflow="b"), a_start("c-1", workflow="c")]
    starts += [a_start("fresh", workflow="a"), a_start("taken", workflow="a")]
    await store.start(starts)
    for one in starts:
        if one.id != "fresh":
            for _ in range(4):
                await store.pass_over(one.id, "unknown")
    await claim(store, "taken")
    assert await store.rush([], 100) == []
    assert await store.rush([("zzz", 1)], 100) == []
    assert len(await store.rush([("b", 1), ("c", 1)], 1)) == 1
    wakes = await store.rush([("a", 1), ("nothing", 1)], 100)
    assert sorted(w.id for w in wakes) == [f"a-{i}" for i in range(5)]
    assert {(w.queue, w.workflow, w.version) for w in wakes} == {("qa", "a", 1)}
    for wake in wakes:
        delay = await index(store, "ready", wake.id)
        assert delay is not None
        assert delay <= GRACE_MS
    assert [w.id for w in await store.rush([("a", 2)], 100)] == ["a-v2"]
