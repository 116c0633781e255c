"""The store: the only truth. One ``Protocol``, two implementations, one contract suite.

Every method that writes is one atomic change and safe to repeat: a caller that got no answer asks
again with the same arguments and gets the answer it missed. All time is the store's own clock.

Every end, whoever brings it about (a turn, time, an operator, a cancel before the first claim), does the same: it
puts into the outbox an ``ended`` notice for the parent and for everybody who follows the execution (request
``ended:<id>:<openings>``), and a ``cancel`` for each child that was started under the policy ``cancel`` and is
not known to have ended (request ``cancel:<id>:<openings>``, reason "its parent <id> has ended").
Writes answer with the ``parcels`` that they put into the outbox, so that whoever caused them relays
them at once, and with the ``rows`` they added to audit trails (also of executions that keep none: ``audit`` 0).
A repeat answers with neither.

The store's own audit rows: ``created`` (workflow, version, parent), ``status`` (from, to, worker at a claim, cause at an
end), ``delivered`` (kind, name: a signal or a notice), ``cancel`` (reason), ``operator`` (action, actor; ``Operate.audit``
takes its place); a commit adds the rows it is given, before the change of status that it leads to.
Methods raise ``StoreUnavailable`` when no answer came (what was asked may have happened), its subclass
``StoreClosed`` once the store was closed, and ``Overloaded`` where new work is refused because it is full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from zlib import crc32

from runner.records import (
    AuditEntry,
    ChildLink,
    Execution,
    Filter,
    History,
    Leadership,
    Page,
    Schedule,
    WorkerInfo,
)
from runner.store.crashes import GIVE_UP, Crashes, CrashLimit
from runner.store.inspection import Inspection
from runner.store.standing import Standings
from runner.store.vitals import Vitals
from runner.transactions import (
    Commit,
    Committed,
    Deliver,
    Delivered,
    DueSchedules,
    Follow,
    Lease,
    Operate,
    Operated,
    Overdue,
    Parcel,
    Refusal,
    Renewed,
    Start,
    Started,
    Wake,
    Woken,
)

PARTITIONS = 16
#: A ready entry waits this long for its hint to be claimed before the scheduler looks at it, in ms.
GRACE_MS = 2_000
#: A passed-over execution is offered again after this long, doubling up to the second figure, in ms.
PASS_FIRST_MS, PASS_LAST_MS = 1_000, 30_000
#: A worker that has died is remembered for this long after its last heartbeat, in ms: so many can be looked at.
HEARD_MS = 600_000


def partition_of(execution_id: str, partitions: int) -> int:
    """The partition an execution lives in: stable for ever, so it is crc32 and nothing cleverer."""
    return crc32(execution_id.encode()) % partitions


def is_child(start: Start) -> bool:
    """An execution started it, which is running work; what a schedule starts is new work."""
    return bool(start.parent) and not start.parent.startswith("@")


class Subscription(Protocol):
    """A stream of short words about one topic. A latency hint only: words can be lost, never rely on one."""

    async def next(self, timeout: float) -> str | None:
        """The next word, or None when ``timeout`` seconds passed without one."""
        ...

    async def close(self) -> None: ...


class Renewer(Protocol):
    """Renews leases from a thread of its own, over a connection of its own. All calls block.

    Raises ``StoreUnavailable``; the next call connects afresh.
    """

    def renew(self, leases: Sequence[Lease], lease_ms: int) -> list[Renewed]: ...

    def heartbeat(self, worker: WorkerInfo) -> None:
        """Record the worker as alive now. One that is new has those forgotten that were not heard of for HEARD_MS."""
        ...

    def close(self) -> None: ...


class Store(Crashes, Inspection, Standings, Vitals, Protocol):
    namespace: str
    partitions: int

    @property
    def interruptions(self) -> int:
        """Counts the times the store was found to be away or restarted; a change means: let owners renew first."""
        ...

    async def open(self) -> None:
        """Connect, check the namespace, and lay it out where it is new; for who only looks see ``runner.store.vitals.Demands``.

        Raises ConfigError when the namespace exists with another number of partitions, a newer schema or another
        declared durability, and when the server is not set to keep what is promised (``runner.store.durability``);
        StoreUnavailable when nothing answers. The messages name the URL with its password masked.
        """
        ...

    async def close(self) -> None:
        """Give everything back. Safe to call twice."""
        ...

    # -- executions -------------------------------------------------------------------------------

    async def start(self, starts: Sequence[Start]) -> list[Started]:
        """Create executions, one round trip for the batch; each on its own, in the order given.

        A repeat of the same ``request`` answers as the first did. An id that exists under another
        request is left as it is and answered with its digest. A new one is ``pending`` and ready
        at once (GRACE_MS before the scheduler looks), or at its time when it is delayed: then it has
        a timer and no wake. Its deadline is ``timeout_ms`` after that moment; while nobody owns it, a
        timer stands at the deadline too. ``entries`` become its journal. ``parent`` hears of its end: also when
        the id was there before, under another request; when that one has ended already, the notice is
        put into the outbox here. Where a cancel's tombstone lies, the execution is created and ended as
        cancelled. Raises Overloaded when the store is full (a child is running work, and never refused: ``is_child``).
        """
        ...

    async def claim(self, id: str, nonce: str, worker: str, lease_ms: int, hinted: int = 0) -> History | Refusal:
        """Take the lease of a ready execution and read all its replay needs.

        ``hinted`` is the seq of the hint that led here: a record behind it has lost acknowledged writes. That is
        counted (``losses``), audited (``rewound``: seq, hint), and the record's seq raised to it, whatever the answer;
        not by a hint that is more than LEAP ahead, which is forged. An execution that is UNKNOWN is counted too. A repeat
        with the same nonce answers afresh while that lease lives.
        Refused: UNKNOWN, TERMINAL (also for a hint of what was purged within the last hour), OWNED (a lease that was
        not yet reaped counts, also when it has run out), IDLE (not ready, or the nonce of a lease that is over). An
        execution whose deadline has passed ends as timed out here and is refused as TERMINAL. Otherwise: off ``ready`` and ``timers``, into ``leases``; running, or still
        cancelling.
        """
        ...

    async def commit(self, commit: Commit) -> Committed | None:
        """The fenced write of a turn; None when the lease is not ours (any more).

        Checks first, then writes: entries are recorded exactly as given, ``at`` included: what the
        turn's code has seen must be what a replay sees (a wait of the same id is closed by its
        entry), waits opened with deadlines by the store's clock, ``closes`` closed, ``outgoing`` put
        into the outbox, ``children`` remembered, ``attributes`` set and indexed, the lease extended by ``lease_ms``.
        An entry is progress: crashes are counted
        anew, so that only those in a row can poison. Then the end, when one is asked:

        * Suspend: refused while the inbox is longer than ``seen``, or a wait's deadline has passed; then
          nothing is released and ``news`` says what came. Otherwise sleeping (or still
          cancelling), with one timer at the earliest of the waits' deadlines and the
          execution's own.
        * Complete, Fail, EndCancelled: terminal, unless the execution's deadline has passed: then it
          ends failed with cause ``timed_out``. While cancelling, Complete and Fail end as
          cancelled; but Complete wins over a cancel that lies behind ``seen``. (An end as cancelled
          has no cause, whatever brought it about.) Only what completed has a result, and no error;
          otherwise the record keeps the error of the last Fail or RetryAttempt, whatever it came to.
        * Fail keeps ``escaped`` in the record, for an operator's retry.
        * FailCompensation: ends compensation_failed, also while cancelling; the record keeps its error.
        * RetryAttempt: forget the entries ``drop``, attempt + 1, all waits closed, retrying, timer at
          ``after_ms`` (not later than the execution's deadline). While cancelling it ends as
          cancelled; with a cancel not yet seen it is refused as a suspension is.
        * ContinueAsNew: run + 1, attempt 1, the new input, ``run_at`` now, no entries, no waits, outstanding 0; the
          inbox is what ``keep`` names and what lies behind ``seen``, in its order and renumbered from 0 (a
          cancel among it stays the cancel; ``ended`` notices are dropped); seen requests, attributes, followers and
          children that have not ended stay. Ready at once (``wake``): pending, or still cancelling.

        An execution that suspends or retries with its deadline passed ends as timed out.
        The same commit again (same nonce and count) writes nothing twice and answers alike, also
        when it was the one that released; when it was not, the lease is extended again. An older
        commit of the lease is answered None; so is one that skips a count or has ``seen`` more than there is: then
        the store went back in time under the lease. Raises StoreConflict, with nothing written, when an
        entry's id is recorded already with other content.
        """
        ...

    async def release(self, id: str, nonce: str) -> Wake | None:
        """Hand an owned execution back, ready at once, no crash counted (SIGTERM). A repeat, or a lost lease: None."""
        ...

    async def pass_over(self, id: str, reason: str) -> None:
        """A worker cannot run this ready execution: offer it again later, 1 s doubling to 30 s, keep the reason.

        No effect on one that is owned, terminal or not ready. The next claim forgets the reason; a commit with an
        entry or an end forgets the backoff.
        """
        ...

    async def deliver(self, deliver: Deliver) -> Delivered:
        """Append to the inbox, at the store's time.

        A repeat of the same ``request`` answers DELIVERED without appending, also after the end.
        Terminal: no effect. When nobody owns the execution it becomes ready and ``wake`` is
        set, unless it was ready already; when somebody does, the owner is told on ``worker/<worker>``.
        A signal does not shorten a delayed start nor the delay before a retry: it is stored, no wake.
        A cancel's ``name`` is its reason. A cancel of an execution that was never claimed ends it
        here and now; otherwise it makes it ``cancelling``; a second cancel has no effect (the first
        reason stays). A cancel with ``tombstone`` of an unknown execution is kept for the namespace's default
        retention (7 days) and answered DELIVERED. An ``ended`` notice marks the child it is about as ended, also
        when it comes for another ``run`` than the present one, and is then dropped (TERMINAL). Its request counts once
        for each ``run``: the next run, which finds none of the notices of the one before, can hear of the same end again.
        ``reopened`` goes into no inbox: the child ``name`` is known to go on, and ends with this execution again; when
        this one has ended since, it is cancelled here. What came late and tells of an older state of a child is passed by.
        A signal is refused with Overloaded when the store is full, a cancel and a notice never.
        """
        ...

    async def follow(self, follow: Follow) -> tuple[Parcel, ...] | None:
        """Have the end of ``target`` told to ``waiter``: an ``ended`` notice in its inbox, through the outbox.

        At once, and as a parcel in the answer, when the target has ended, is unknown (status ``unknown``) or is of another
        workflow (``mismatch``; a follow without one takes any). These carry the request ``ended:<target>:<openings>`` too (0 for an unknown one; a
        mismatch ``mismatch:<target>:<workflow>``), each with ``:<request>`` behind it where the follow has one, so that
        each of several waits gets its answer. Idempotent. A purge of the target forgets its followers.
        None, and nothing is written, for an unknown target that is ``expected``: ask again.
        """
        ...

    async def operate(self, operate: Operate) -> Operated:
        """What an operator does, whoever owns the execution: a lease in the way is taken away (no crash counted).

        The owner is told, and finds its lease lost. A repeat of the same ``request`` answers DONE. Checked before
        anything is written: ``entries`` against the journal's length (CHANGED), the status (REFUSED):

        * RETRY: of failed only. Reopened: pending and ready, openings + 1, attempt 1, crashes 0, without the entries
          ``drop``, error, cause and ``escaped`` cleared, its retention taken back, a fresh deadline when it has a
          timeout. Followers and the parent stay: they are told of the next end too. The parent is told ``reopened``.
        * ROLLBACK: of failed, compensation_failed and cancelled, while ``outstanding`` > 0. Reopened alike,
          with ``rollback`` set and no deadline.
        * RECORD: of anything but completed, cancelled and compensation_failed. ``entry`` replaces the one of its id,
          which keeps its number; a new one gets the next number. Its wait is closed. A live execution becomes ready
          (a running one is pending then, others keep their status), a failed one stays failed, without what
          ``escaped`` said of the entry.
        * HURRY: of live ones. A retrying execution becomes ready; the waits ``hurry`` are due now.
        * FORCE_FAIL: of live ones. Ends failed, cause ``forced``.
        * FORK: of any. Leaves its rows in the trail, and nothing else; an owner keeps its lease.

        RETRY, ROLLBACK and RECORD forget the entries ``drop`` and put ``mark`` behind the last entry.
        One act is one row: ``audit`` as it is, or the store's own.
        """
        ...

    # -- time: called by the scheduler, for one partition at a time -----------------------------------

    async def due(self, partition: int, limit: int) -> Woken:
        """Make executions ready whose timer has come; end those whose own deadline has passed."""
        ...

    async def reap(self, partition: int, limit: int, alive: Iterable[str], crashes: CrashLimit = GIVE_UP) -> Woken:
        """Take away leases that have run out; the executions become ready again.

        A crash is counted only when the owner is not among ``alive`` worker ids; one too many ends the execution,
        as ``crashes`` says. ``next_at`` is when the next lease runs out.
        """
        ...

    async def overdue(self, partition: int, limit: int, backoff_ms: int) -> Overdue:
        """Ready executions past their grace, each pushed ``backoff_ms`` into the future by this call."""
        ...

    async def rush(self, workflows: Iterable[tuple[str, int]], limit: int) -> list[Wake]:
        """Passed-over executions of these workflows and versions, in all partitions: offered again now."""
        ...

    async def relay(self, partition: int, limit: int, older_than_ms: int = 0) -> list[Parcel]:
        """The outbox's entries, oldest first, without removing them."""
        ...

    async def relayed(self, partition: int, places: Sequence[str]) -> None:
        """Remove outbox entries that have been applied."""
        ...

    async def purge(self, partition: int, limit: int) -> tuple[int, int | None]:
        """Delete executions past their retention with all their data: how many, and when the next one is due."""
        ...

    async def next_due(self, partition: int) -> Mapping[str, int | None]:
        """The earliest time of each index (``timers leases ready expiry outbox``), and ``now``, without writing."""
        ...

    async def lead(self, nonce: str, name: str, ttl_ms: int) -> Leadership:
        """Take or keep the scheduler's lease; only one nonce holds it at a time."""
        ...

    async def abdicate(self, nonce: str) -> None:
        """Give the scheduler's lease back, when it is ours; standbys are told on ``leader``."""
        ...

    async def workers(self, within_ms: int) -> list[WorkerInfo]:
        """The workers whose last heartbeat is at most this old, by id: those of the last HEARD_MS can be asked for."""
        ...

    async def farewell(self, worker_id: str) -> None:
        """Forget a worker that leaves in good order."""
        ...

    # -- schedules: namespace-wide -----------------------------------------------------------------

    async def schedule(self, id: str) -> Schedule | None:
        """The schedule as it is now."""
        ...

    async def put_schedules(self, schedules: Sequence[Schedule]) -> list[bool]:
        """Compare and set, each on its own, one round trip for all: stored where its ``revision`` is exactly one above the
        kept one's (1: there must be none), and both were made at the same ``created_at``: what was removed and made anew is
        another schedule, whatever its revision. False: somebody else was faster, read it again.

        This one comparison is what makes every tick decided once: a decision is a change like any other. Schedulers that
        sleep until a later moment are told on ``schedules`` when one is due earlier.
        A repeat of what was stored (the same content) answers True.
        """
        ...

    async def drop_schedule(self, id: str, revision: int) -> bool:
        """Remove it, where it is of this revision (also True when it is not there)."""
        ...

    async def due_schedules(self, limit: int) -> DueSchedules:
        """Those whose ``due_at`` has come, the longest due first, without writing; and when the next one is due."""
        ...

    async def stir_schedule(self, id: str) -> None:
        """Have it looked at now: an execution of it has ended. No effect on its content, nor on one that is not there."""
        ...

    async def schedules(self, limit: int, after: str = "") -> list[Schedule]:
        """By id, those behind ``after``."""
        ...

    # -- reading ----------------------------------------------------------------------------------

    async def read(self, id: str) -> History | None:
        """The execution as it is now, with journal, waits and inbox."""
        ...

    async def record(self, id: str) -> Execution | None:
        """The record alone."""
        ...

    async def executions(self, filter: Filter) -> Page:
        """One page, newest first; the cursor of a page leads to the next. Cost does not grow with what is not shown.

        Of several attributes one is looked up in its index, the others are compared. ``stuck``: what needs an operator:
        compensation_failed, and what ended failed, or cancelled by its deadline, a crash limit or an operator, while
        compensations were outstanding.
        """
        ...

    async def audit(self, id: str) -> tuple[AuditEntry, ...]:
        """The audit trail, oldest first: the last ``Start.audit`` lines (a little more may be kept). It outlives runs."""
        ...

    async def children(self, id: str) -> tuple[ChildLink, ...]:
        """The children started by the present run, and those of older runs that have not ended; by id."""
        ...

    async def now(self) -> int:
        """The store's clock."""
        ...

    def renewer(self) -> Renewer: ...

    async def subscribe(self, topic: str) -> Subscription:
        """Listen to a topic, from now on: it is in force when this returns.

        ``ended/<execution id>``: the new status. ``worker/<worker id>``: the id of an owned execution
        that has news. ``timers``: the partition whose earliest timer moved forward. ``leader``: the
        seat is free. ``workers``: a worker registered that was not there before. ``schedules``: one is due earlier than
        any was.
        """
        ...
