"""Both stores: what a hint tells of a store that went back in time, and what the store says of itself."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from runner.errors import ConfigError
from runner.messages import Hint
from runner.records import History, Status
from runner.store import Store
from runner.store.vitals import GONE_MS, LEAP, Losses
from runner.transactions import Complete, Refusal, Suspend
from tests.contract.conftest import Backend
from tests.contract.kit import (
    LEASE,
    SHORT,
    Elapse,
    a_start,
    a_wait,
    an_entry,
    begin,
    claim,
    nonce,
    part,
    record,
    signal,
    start,
)


async def hinted(store: Store, seq: int, id: str = "e-1", *, mine: str = "") -> History | Refusal:
    return await store.claim(id, mine or nonce(), "w-1", LEASE, seq)


async def asleep(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    assert (await record(store)).status is Status.SLEEPING


# -- losses ---------------------------------------------------------------------------------------


async def test_a_record_behind_its_hint_is_counted_once_audited_and_goes_on(store: Store) -> None:
    await start(store, a_start())
    mine = nonce()
    claimed = await hinted(store, 7, mine=mine)
    assert isinstance(claimed, History)
    assert claimed.execution.seq == 7
    assert next((row.kind, dict(row.fields)) for row in claimed.rows) == ("rewound", {"seq": 1, "hint": 7})
    assert isinstance(await hinted(store, 7, mine=mine), History), "a repeat is answered"
    found = await store.losses()
    assert (found.rewound, found.orphaned, found.rewound_ids) == (1, 0, ("e-1",))
    assert found.last_at is not None
    assert [row.kind for row in await store.audit("e-1")].count("rewound") == 1
    assert await store.release("e-1", mine) is not None
    assert (await record(store)).seq == 8, "the next wake-up is ahead of everything that was sent"


async def test_a_record_that_cannot_be_claimed_is_counted_and_said_all_the_same(store: Store) -> None:
    with capture_logs() as logs:
        await asleep(store)
        assert await hinted(store, 2) is Refusal.IDLE
        turn = await begin(store, a_start("e-2"))
        assert await hinted(store, 2, "e-2") is Refusal.OWNED
        await turn.commit(end=Complete(result=b""))
        assert await hinted(store, 3, "e-2") is Refusal.TERMINAL
    said = [(log["execution_id"], log["hint"]) for log in logs if log["event"] == "store.rewound"]
    assert said == [("e-1", 2), ("e-2", 2), ("e-2", 3)]
    assert (await store.losses()).rewound == 3
    for seq, id in ((2, "e-1"), (3, "e-2")):
        await hinted(store, seq, id)
    assert (await store.losses()).rewound == 3
    assert (await signal(store)).wake is not None, "it goes on when it hears again what was lost"


async def test_a_forged_hint_that_is_ahead_does_no_harm(store: Store) -> None:
    """As far as a loss could have taken the store it is believed; the next wake-up is a hint all the same."""
    await start(store, a_start())
    for seq, counted in ((2**53 - 1, 0), (2 + LEAP + 1, 0), (3 + LEAP, 1)):
        mine = nonce()
        claimed = await hinted(store, seq, mine=mine)
        assert isinstance(claimed, History)
        assert [row.kind for row in claimed.rows] == ["rewound", "status"][1 - counted :]
        assert (await store.losses()).rewound == counted
        wake = await store.release("e-1", mine)
        assert wake is not None
        assert Hint.decode(wake.hint.encode()) == wake.hint
    assert (await record(store)).seq == 3 + LEAP + 1


@pytest.mark.parametrize("seq", [0, 1])
async def test_a_hint_that_is_not_ahead_tells_of_no_loss(store: Store, seq: int) -> None:
    await start(store, a_start())
    assert isinstance(await hinted(store, seq), History)
    assert await store.losses() == Losses()


async def test_an_unknown_execution_is_an_orphan_counted_once(store: Store) -> None:
    for _ in range(2):
        assert await hinted(store, 3, "nobody") is Refusal.UNKNOWN
    assert await hinted(store, 1, "someone") is Refusal.UNKNOWN
    found = await store.losses()
    assert found.orphaned == 2
    assert set(found.orphaned_ids) == {"nobody", "someone"}
    assert await store.claim("else", nonce(), "w-1", LEASE) is Refusal.UNKNOWN
    assert (await store.losses()).orphaned == 2, "who comes without a hint tells of nothing"
    await store.forget_losses()
    assert await store.losses() == Losses()
    await hinted(store, 3, "nobody")
    assert (await store.losses()).orphaned == 1


async def test_a_late_hint_of_what_was_purged_is_no_loss(store: Store, elapse: Elapse, backend: Backend) -> None:
    turn = await begin(store, a_start(retention_ms=1))
    await turn.commit(end=Complete(result=b""))
    await elapse(SHORT)
    assert (await store.purge(part(store), 10))[0] == 1
    assert await hinted(store, 9) is Refusal.TERMINAL
    await start(store, a_start())
    assert isinstance(await hinted(store, 9), History)
    assert await store.losses() == Losses(), "the hint may be of its former life"
    if backend.kind == "redis":
        return
    turn = await begin(store, a_start("e-2", retention_ms=1))
    await turn.commit(end=Complete(result=b""))
    await elapse(GONE_MS)
    await store.purge(part(store, "e-2"), 10)
    assert await hinted(store, 9) is Refusal.OWNED
    assert (await store.losses()).rewound == 1, "after an hour nobody remembers the former life"


# -- a lease across the journey --------------------------------------------------------------------


async def test_a_commit_behind_a_gap_is_lost(store: Store) -> None:
    """The store went back under a lease: what the turn records next must not stand behind what is gone."""
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1)])
    turn.count += 1
    assert await turn.ask(entries=[an_entry(3)]) is None
    assert [entry.number for entry in (await claim_anew(store, turn.nonce)).entries] == [1]


async def test_a_turn_that_has_seen_what_is_gone_is_lost(store: Store) -> None:
    """A signal that was read and is gone again: the next one would take its place in the inbox, and count as read."""
    turn = await begin(store)
    assert await turn.ask(entries=[an_entry(1, "approval", kind="signal", consumes=0)], seen=1) is None
    assert (await claim_anew(store, turn.nonce)).entries == ()


async def claim_anew(store: Store, mine: str) -> History:
    await store.release("e-1", mine)
    return (await claim(store)).history


# -- what the store says of itself -----------------------------------------------------------------


async def test_vitals_tell_what_is_and_what_is_declared(store: Store, backend: Backend) -> None:
    before = await store.vitals()
    assert (before.declared, before.partitions, before.breaks) == (None, 16, 0)
    assert before.kind == ("redis" if backend.kind == "redis" else "sqlite")
    assert before.facts
    await store.declare("everysec")
    assert (await store.vitals()).declared == "everysec"
    await store.declare(None)
    assert (await store.vitals()).declared is None


async def test_the_backlog_is_what_is_ready_and_not_claimed(store: Store) -> None:
    assert dict(await store.backlog()) == {}
    for id, queue in (("e-1", "a"), ("e-2", "a"), ("e-3", "b")):
        await start(store, a_start(id, queue=queue))
    await claim(store, "e-3")
    await start(store, a_start("e-4", queue="b", delay_ms=60_000))
    assert dict(await store.backlog()) == {"a": 2}


async def test_a_namespace_keeps_the_durability_that_was_declared_first(backend: Backend) -> None:
    first = backend.store(durability="fsync")
    if backend.kind == "sqlite-memory":
        with pytest.raises(ConfigError, match="memory of one process"):
            await first.open()
        return
    await first.open()
    assert (await first.vitals()).declared == "fsync"
    await first.close()
    silent = backend.store()
    await silent.open()
    assert (await silent.vitals()).declared == "fsync"
    await silent.close()
    other = backend.store(durability="everysec")
    with pytest.raises(ConfigError, match="declared with durability 'fsync'"):
        await other.open()
    await other.close()
    again = backend.store(durability="fsync")
    await again.open()
    await again.declare("everysec")
    await again.close()
    await other.open()
    await other.close()
