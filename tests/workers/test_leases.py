"""Leases from the worker's side: trusted for a part of their time, renewed from outside the loop."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from runner.clock import boot_ms
from runner.errors import StoreUnavailable
from runner.records import WorkerInfo
from runner.transactions import Lease, Renewed
from runner.workers.leases import HeldLease, LeaseKeeper


class Answers:
    """A renewer whose answers the test decides."""

    def __init__(self) -> None:
        self.held = True
        self.away = False
        self.rounds = threading.Semaphore(0)
        self.asked: list[list[str]] = []

    def renew(self, leases: Sequence[Lease], lease_ms: int) -> list[Renewed]:
        self.rounds.release()
        if self.away:
            raise StoreUnavailable("away")
        self.asked.append([lease.nonce for lease in leases])
        return [Renewed(id=lease.id, held=self.held, inbox=3) for lease in leases]

    def heartbeat(self, worker: WorkerInfo) -> None: ...

    def close(self) -> None: ...


WORKER = WorkerInfo(id="w", build="", queues=(), workflows=(), slots=1)


def test_a_lease_is_trusted_for_less_than_its_time() -> None:
    assert HeldLease("x", "n", 10_000, boot_ms() - 7_500).trusted
    assert not HeldLease("x", "n", 10_000, boot_ms() - 8_500).trusted


def test_trust_moves_with_what_the_store_took_and_never_back() -> None:
    lease = HeldLease("x", "n", 1_000, boot_ms() - 900)
    assert not lease.trusted
    lease.extended(boot_ms())
    lease.extended(boot_ms() - 900)
    assert lease.trusted
    lease.lost = True
    assert not lease.trusted


def test_the_keeper_renews_all_and_tells_what_came_of_it() -> None:
    renewer, told = Answers(), []
    lease = HeldLease("x", "n", 90, boot_ms() - 1000)
    keeper = LeaseKeeper(
        renewer, WORKER, 90, told=lambda one, answer: told.append((one, answer)), loop_alive=lambda: True
    )
    keeper.hold(lease)
    keeper.start()
    assert renewer.rounds.acquire(timeout=10)
    assert renewer.rounds.acquire(timeout=10)
    assert lease.trusted
    assert told[0][0] is lease
    assert told[0][1].inbox == 3
    renewer.away = True
    for _ in range(3):
        assert renewer.rounds.acquire(timeout=10)
    renewer.away, renewer.held = False, False
    while all(answer.held for _, answer in list(told)):
        assert renewer.rounds.acquire(timeout=10)
    keeper.stop()


def test_a_renewal_that_overtook_the_claim_takes_nothing_from_its_turn() -> None:
    """The store did not know the lease when it was asked to renew it; by the time that its answer is read, it may."""
    lease = HeldLease("x", "n", 90, boot_ms(), claimed=False)
    told: list[Renewed] = []

    class Overtaking(Answers):
        def renew(self, leases: Sequence[Lease], lease_ms: int) -> list[Renewed]:
            lease.claimed = True
            return super().renew(leases, lease_ms)

    renewer = Overtaking()
    renewer.held = False
    keeper = LeaseKeeper(renewer, WORKER, 90, told=lambda _, answer: told.append(answer), loop_alive=lambda: True)
    keeper.hold(lease)
    keeper._round()
    assert told == []
    keeper._round()
    assert [answer.held for answer in told] == [False], "asked after its claim, the store knows"


def test_a_worker_whose_loop_is_dead_renews_nothing() -> None:
    renewer = Answers()
    keeper = LeaseKeeper(renewer, WORKER, 30, told=lambda one, answer: None, loop_alive=lambda: False)
    keeper.hold(HeldLease("x", "n", 30, boot_ms()))
    keeper.start()
    assert not renewer.rounds.acquire(timeout=0.3)
    keeper.stop()


def test_whoever_leaves_does_not_wait_for_a_store_that_is_away() -> None:
    """A drain has a budget for it, and what comes after it is worth more."""
    asked, let_go = threading.Event(), threading.Event()

    class Away(Answers):
        def renew(self, leases: Sequence[Lease], lease_ms: int) -> list[Renewed]:
            asked.set()
            let_go.wait(60)
            return super().renew(leases, lease_ms)

    keeper = LeaseKeeper(Away(), WORKER, 30, told=lambda one, answer: None, loop_alive=lambda: True)
    keeper.start()
    assert asked.wait(30)
    keeper.stop(0.01)
    assert not let_go.is_set(), "it came back though the thread hangs"
    let_go.set()
    keeper.stop(30)
    assert not keeper._thread.is_alive()
