"""Leases: kept alive from a thread of their own, so that no step can cost the worker what it holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from runner.clock import boot_ms
from runner.errors import StoreUnavailable
from runner.load import LongStep
from runner.log import Logger
from runner.records import WorkerInfo
from runner.store import Renewer
from runner.transactions import Lease, Renewed
from runner.workers.pace import Pace

log = Logger("runner.leases")

#: A lease counts as ours for this part of its time, by our own clock: the rest is for the answer's way.
TRUST = 0.8


class HeldLease:
    """One lease of this worker, with the moment until which it may be trusted without asking.

    ``claimed``: the store has answered the claim. Until then nobody knows whether it is held.
    """

    def __init__(self, id: str, nonce: str, lease_ms: int, asked_at: int, *, claimed: bool = True) -> None:
        self.id = id
        self.nonce = nonce
        self.claimed = claimed
        self.lost = False
        self._lease_ms = lease_ms
        self._trusted_until = 0
        self.extended(asked_at)

    def extended(self, asked_at: int) -> None:
        """The store took a claim, renewal or commit that was asked at ``asked_at`` (boot time, ms)."""
        self._trusted_until = max(self._trusted_until, asked_at + round(TRUST * self._lease_ms))

    @property
    def trusted(self) -> bool:
        """False once the lease may be somebody else's: user code must not be called any more."""
        return not self.lost and boot_ms() < self._trusted_until


#: Whoever never began waits this long for the thread, in seconds.
STOP_S = 2.0

#: What a renewal is to tell its turn: the lease, and what the store said of it.
Told = Callable[[HeldLease, Renewed], None]


class LeaseKeeper:
    """Renews all leases every third of their time, in one write, and says that the worker is alive, and at what it works.

    It stops renewing while ``loop_alive`` says no: a worker whose loop hangs must lose its executions in the end.
    """

    def __init__(
        self,
        renewer: Renewer,
        worker: WorkerInfo,
        lease_ms: int,
        *,
        told: Told,
        loop_alive: Callable[[], bool],
        long_steps: Callable[[], tuple[LongStep, ...]] = tuple,
    ) -> None:
        self._renewer = renewer
        self._worker = worker
        self._lease_ms = lease_ms
        self._told = told
        self._loop_alive = loop_alive
        self._long_steps = long_steps
        self._pace = Pace()
        self._held: dict[str, HeldLease] = {}  # by nonce
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="runner-leases", daemon=True)

    def start(self) -> None:
        """Register the worker, then keep going. Blocks; raises StoreUnavailable when it cannot be registered."""
        self._beat()
        self._thread.start()

    def stop(self, within_s: float = STOP_S) -> None:
        """Stop renewing; what is still held runs out. Blocks, for at most ``within_s``, until the last beat is over."""
        self._stopping.set()
        if self._thread.is_alive():
            # Not for ever: it may sit in a call to a store that is away, and it ends with the process.
            self._thread.join(timeout=within_s)

    def hold(self, lease: HeldLease) -> None:
        with self._lock:
            self._held[lease.nonce] = lease

    def drop(self, lease: HeldLease, queue: str = "") -> None:
        """Renew it no longer; with a ``queue``, a turn of which has ended."""
        with self._lock:
            self._held.pop(lease.nonce, None)
        if queue:
            self._pace.ended(queue)

    @property
    def count(self) -> int:
        return len(self._held)

    def _keep(self) -> None:
        while True:
            if self._loop_alive():
                self._round()
            if self._stopping.wait(self._lease_ms / 3000):
                break
        self._renewer.close()

    def _round(self) -> None:
        with self._lock:
            leases = list(self._held.values())
        claimed = [one.claimed for one in leases]
        try:
            # Before the leases: of a worker that died, no lease must run out while this still says that it lives.
            self._beat()
            asked_at = boot_ms()
            answers = self._renewer.renew([Lease(id=one.id, nonce=one.nonce) for one in leases], self._lease_ms)
            self._tell(zip(leases, claimed, answers, strict=True), asked_at)
        except StoreUnavailable as error:
            log.warning("lease.renewal_failed", held=len(leases), error=str(error))
        except Exception:  # a thread that ended in silence would cost every lease from here on
            log.exception("lease.renewal_broken", held=len(leases))

    def _beat(self) -> None:
        ended, over_ms = self._pace.lately()
        load = replace(self._worker.load, busy=self.count, ended=ended, over_ms=over_ms, steps=self._long_steps())
        self._renewer.heartbeat(replace(self._worker, load=load))

    def _tell(self, renewals: Iterable[tuple[HeldLease, bool, Renewed]], asked_at: int) -> None:
        for lease, claimed, answer in renewals:
            if answer.held:
                lease.extended(asked_at)
            # What was not held before its claim came to the store may be by now: its turn must not take it for lost.
            if answer.held or claimed:
                self._told(lease, answer)
