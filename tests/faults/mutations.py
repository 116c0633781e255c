"""The mechanisms, each with what it looks like when it is off, and the tests that must notice.

`make mutations` switches off one after the other, in a copy of the tree, and runs its tests there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

CRASHES = "tests/faults/test_crash_points.py"
CALLS = "tests/faults/test_close_calls.py"
LOST = "tests/faults/test_lost_replies.py"
REDIS = "tests/faults/test_redis_faults.py"
RABBIT = "tests/faults/test_rabbit_faults.py"
CLOCKS = "tests/faults/test_clocks.py"

WORKER = f"{CRASHES}::test_a_worker_that_dies_or_stands_still_anywhere_delays_and_loses_nothing"
SCHEDULER = f"{CRASHES}::test_a_scheduler_that_dies_or_stands_still_anywhere_is_followed_by_another"
LEFT_BEHIND = f"{CRASHES}::test_a_scheduler_that_dies_over_what_others_left_behind_leaves_it_to_its_follower"
TICK = f"{CRASHES}::test_a_tick_is_decided_once_and_starts_one_execution_wherever_its_scheduler_dies"
PRODUCER = f"{CRASHES}::test_what_a_producer_had_acknowledged_or_asks_again_happens_once"
ABANDONED = f"{CRASHES}::test_what_a_dead_producer_had_stored_is_executed_though_nobody_asks_again"
HAPPENS_ONCE = f"{LOST}::test_what_lost_its_reply_happens_once"

LUA = "runner/store/redis/lua"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """``before`` stands once in ``file``; with ``after`` in its place the mechanism is off, and one of ``tests`` fails.

    ``points``: of tests that know many crash points, those that are about it.
    """

    name: str
    promise: str
    mechanism: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    points: tuple[str, ...] = ()

    def found(self, root: Path = ROOT) -> int:
        """How often its text is there."""
        return (root / self.file).read_text().count(self.before)

    def apply(self, root: Path) -> None:
        path = root / self.file
        path.write_text(path.read_text().replace(self.before, self.after))

    def functions(self) -> Iterator[tuple[str, str]]:
        """The file and the name of each test, without its parameters."""
        for test in self.tests:
            path, _, name = test.partition("::")
            yield path, name.partition("[")[0]


MUTATIONS = (
    # -- P1: a start is never lost ----------------------------------------------------------------
    Mutation(
        name="ready entry at start",
        promise="P1",
        mechanism="a start writes the ready entry in the same script as the record",
        file=f"{LUA}/start.lua",
        before="  make_ready(r)\nend\napply_tombstone()",
        after="end\napply_tombstone()",
        tests=(ABANDONED,),
        points=("start:after:1:kill",),
    ),
    Mutation(
        name="overdue sweep",
        promise="P1",
        mechanism="the scheduler publishes hints of ready entries that nobody claimed",
        file="scheduler/duties.py",
        before="        self._postbox.put(again)\n",
        after="",
        tests=(ABANDONED,),
        points=("publish_many:before:1:kill",),
    ),
    Mutation(
        name="repeated start",
        promise="P1",
        mechanism="a start recognises its own repetition by its request",
        file=f"{LUA}/parts/starting.lua",
        before="r.request == request and 1 or 0",
        after="0",
        tests=(f"{HAPPENS_ONCE}[start]",),
    ),
    # -- P2: recorded steps do not run again ------------------------------------------------------
    Mutation(
        name="commit before effect",
        promise="P2",
        mechanism="what the code has seen is committed before the next step is called",
        file="workers/turn.py",
        before="if end is not None or self._owes():",
        after="if end is not None:",
        tests=(WORKER,),
        points=("record:before:1:kill",),
    ),
    Mutation(
        name="journal never changes",
        promise="P2",
        mechanism="a commit that contradicts what is recorded is refused",
        file=f"{LUA}/commit.lua",
        before="  elseif kept ~= content then\n",
        after="  elseif false then\n",
        tests=(f"{CALLS}::test_a_recorded_result_is_never_replaced",),
    ),
    # -- P3: one owner ----------------------------------------------------------------------------
    Mutation(
        name="fence",
        promise="P3",
        mechanism="each write of a turn carries its lease's nonce, which is compared",
        file=f"{LUA}/commit.lua",
        before="if r.nonce ~= nonce or count ~= r.count + 1 or",
        after="if count ~= r.count + 1 or",
        tests=(f"{CALLS}::test_a_lease_that_is_over_cannot_write",),
    ),
    Mutation(
        name="a store that went back",
        promise="P3",
        mechanism="a commit that leaves out one before it is refused: what that one recorded is gone",
        file=f"{LUA}/commit.lua",
        before="count ~= r.count + 1 or",
        after="count <= r.count or",
        tests=("tests/contract/test_store_losses.py::test_a_commit_behind_a_gap_is_lost",),
    ),
    Mutation(
        name="local deadline",
        promise="P3",
        mechanism="no user code is called once our own clock says that the lease may be over",
        file="workers/leases.py",
        before="return not self.lost and boot_ms() < self._trusted_until",
        after="return not self.lost",
        tests=(WORKER,),
        points=("record:after:1:stop",),
    ),
    Mutation(
        name="lease renewal",
        promise="P3",
        mechanism="a worker renews what it holds every third of a lease",
        file=f"{LUA}/renew.lua",
        before="    call('ZADD', LEASES, now + ARGV[1], id)\n",
        after="",
        tests=(f"{CALLS}::test_a_step_that_takes_longer_than_a_lease_is_called_once",),
    ),
    Mutation(
        name="repeated claim",
        promise="P3",
        mechanism="a claim recognises its own repetition by its nonce",
        file=f"{LUA}/claim.lua",
        before="if r.nonce == nonce then",
        after="if false then",
        tests=(f"{HAPPENS_ONCE}[claim]",),
    ),
    Mutation(
        name="repeated commit",
        promise="P3",
        mechanism="a commit, and the end it brings, recognises its own repetition before it looks at the lease",
        file=f"{LUA}/commit.lua",
        before="if r.answer and string.sub(r.answer, 1, #MARK) == MARK then",
        after="if false then",
        tests=tuple(f"{HAPPENS_ONCE}[commit{what}]" for what in ("", ".suspend", ".complete", ".continue")),
    ),
    Mutation(
        name="reaping waits after an outage",
        promise="P3",
        mechanism="after the store was away, owners renew before leases that ran out meanwhile are taken away",
        file="scheduler/duties.py",
        before="        if self._store.interruptions != self._interruptions:\n",
        after="        if False:\n",
        tests=(f"{REDIS}::test_a_redis_that_stands_still_for_longer_than_leases_last_costs_none",),
    ),
    # -- P4: signals ------------------------------------------------------------------------------
    Mutation(
        name="suspension compares",
        promise="P4",
        mechanism="a suspension is refused while the inbox has more than the turn has seen",
        file=f"{LUA}/parts/ends.lua",
        before="if call('LLEN', key('i', r.id)) > seen or (first and first <= now) then",
        after="if first and first <= now then",
        tests=(f"{CALLS}::test_a_signal_that_comes_while_its_waiter_decides_to_suspend_is_heard",),
    ),
    Mutation(
        name="repeated delivery",
        promise="P4",
        mechanism="what reaches an inbox is recognised by its request",
        file=f"{LUA}/parts/inbox.lua",
        before="  if seq then\n",
        after="  if false then\n",
        tests=(f"{HAPPENS_ONCE}[signal]", f"{HAPPENS_ONCE}[cancel]", f"{HAPPENS_ONCE}[notice]"),
    ),
    Mutation(
        name="dedup of signals",
        promise="P4",
        mechanism="the same dedup_id is the same request",
        file="runner/client.py",
        before="secrets.token_hex(16) if dedup_id is None else id_from_key(name, dedup_id)",
        after="secrets.token_hex(16)",
        tests=(PRODUCER,),
        points=("deliver:after:1:kill", "deliver:after:2:kill"),
    ),
    # -- P5: timers -------------------------------------------------------------------------------
    Mutation(
        name="timers fire",
        promise="P5",
        mechanism="the scheduler makes ready whose timer has come",
        file="scheduler/duties.py",
        before="await self._pass_on(await self._store.due(partition, LIMIT))",
        after="await self._store.now()",
        tests=(SCHEDULER,),
        points=("publish_many:after:1:kill", "due:before:1:kill"),
    ),
    Mutation(
        name="timers are not early",
        promise="P5",
        mechanism="a wait gets its deadline from the store's clock, and is not over before",
        file=f"{LUA}/commit.lua",
        before="(after_opening ~= '' and now + after_opening)",
        after="(after_opening ~= '' and now + after_opening / 2)",
        tests=(PRODUCER,),
        points=("start:before:1:kill",),
    ),
    Mutation(
        name="time is the store's",
        promise="P5",
        mechanism="no decision is made by the time of day of a process",
        file="runner/clock.py",
        before="return self._said + self._ticks() - self._heard",
        after="return time.time_ns() // 1_000_000",
        tests=(f"{CLOCKS}::test_processes_whose_clocks_are_wrong_are_right",),
    ),
    # -- P6: schedules ----------------------------------------------------------------------------
    Mutation(
        name="tick compare",
        promise="P6",
        mechanism="a schedule is written only over the revision that was read",
        file=f"{LUA}/put_schedules.lua",
        before="if kept and string.sub(kept, 1, #expected) ~= expected or not kept and tonumber(revision) ~= 1 then",
        after="if false then",
        tests=(TICK,),
        points=("put_schedules:before:1:stop",),
    ),
    Mutation(
        name="pending decision",
        promise="P6",
        mechanism="whoever finds a decision carries it out",
        file="scheduler/schedules.py",
        before="found = [one for one in due.schedules if one.pending is not None]",
        after="found: list[Schedule] = []",
        tests=(TICK,),
        points=("put_schedules:after:1:kill",),
    ),
    Mutation(
        name="repeated decision",
        promise="P6",
        mechanism="a schedule that was written is recognised by its content",
        file=f"{LUA}/put_schedules.lua",
        before="if kept == new then",
        after="if false then",
        tests=(f"{HAPPENS_ONCE}[put_schedules]",),
    ),
    # -- P7: nothing is stuck ---------------------------------------------------------------------
    Mutation(
        name="reaping",
        promise="P7",
        mechanism="the scheduler takes away leases that have run out",
        file="scheduler/duties.py",
        before="woken = await self._store.reap(partition, LIMIT, alive, self._crashes)",
        after="woken = await self._store.reap(partition, 0, alive, self._crashes)",
        tests=(WORKER,),
        points=("claim:after:1:kill",),
    ),
    Mutation(
        name="outbox relay",
        promise="P7",
        mechanism="the scheduler carries what whoever caused it did not",
        file="scheduler/duties.py",
        before="if await self._courier.send(await self._store.relay(partition, LIMIT, OUTBOX_GRACE_MS)):",
        after="if await self._store.relay(partition, LIMIT, OUTBOX_GRACE_MS):",
        tests=(WORKER,),
        points=("send:before:1:kill",),
    ),
    Mutation(
        name="release when leaving",
        promise="P7",
        mechanism="a worker that leaves hands back what it cannot end",
        file="workers/turns.py",
        before='log.info("turn.handed_back", **_known(execution))\n            await self._returns.hand_back(lease)\n',
        after='log.info("turn.handed_back", **_known(execution))\n',
        tests=(f"{CALLS}::test_who_leaves_hands_over_what_it_cannot_end",),
    ),
    # -- P8: one end ------------------------------------------------------------------------------
    Mutation(
        name="an end compares its deadline",
        promise="P8",
        mechanism="whatever a turn ends as, a deadline that has passed makes it a time-out",
        file=f"{LUA}/parts/ends.lua",
        before="if is_late(r) and ending.kind ~= 'fail_compensation' then",
        after="if false then",
        tests=(f"{CALLS}::test_an_end_that_comes_after_the_deadline_is_a_time_out",),
    ),
    Mutation(
        name="a cancelled attempt is the last",
        promise="P8",
        mechanism="an attempt that fails when a cancel has come is not tried again, and ends as all ends do",
        file=f"{LUA}/parts/ends.lua",
        before="if TERMINAL[after(r.status, 'retry')] then",
        after="if false then",
        tests=(f"{CALLS}::test_a_cancel_that_comes_while_an_attempt_is_given_up_ends_it",),
    ),
    Mutation(
        name="completion wins over an unseen cancel",
        promise="P8",
        mechanism="an end that had not heard of a cancel is what it is",
        file=f"{LUA}/parts/ends.lua",
        before="local from = has_unseen_cancel(r, seen) and 'running' or r.status",
        after="local from = r.status",
        tests=(f"{CALLS}::test_a_cancel_that_comes_behind_a_completion_does_not_undo_it",),
    ),
    # -- P9: a broken one harms only itself -------------------------------------------------------
    Mutation(
        name="dead letters",
        promise="P9",
        mechanism="what is no hint is kept apart, with the reason",
        file="runner/broker/handling.py",
        before="size=len(message.body))\n        await _bury(message, str(error))\n        return\n    delivery",
        after="size=len(message.body))\n        await message.ack()\n        return\n    delivery",
        tests=(f"{RABBIT}::test_hints_of_unknown_executions_and_what_is_no_hint_are_kept_apart_and_counted",),
    ),
    Mutation(
        name="orphans",
        promise="P9",
        mechanism="a hint of an execution that the store does not know is kept apart and counted",
        file="workers/turns.py",
        before='                await delivery.orphan("the store knows no such execution")\n',
        after="",
        tests=(
            f"{RABBIT}::test_hints_of_unknown_executions_and_what_is_no_hint_are_kept_apart_and_counted",
            f"{REDIS}::test_what_a_power_loss_takes_back_is_named_and_can_be_asked_for_again",
        ),
    ),
    Mutation(
        name="crash limit",
        promise="P9",
        mechanism="what takes worker after worker with it ends as failed",
        file=f"{LUA}/parts/crashing.lua",
        before="if counted and r.crashes >= tonumber(limit) then",
        after="if false then",
        tests=(f"{CALLS}::test_what_takes_every_worker_with_it_ends_and_says_so",),
    ),
    # -- P10: an outage delays --------------------------------------------------------------------
    Mutation(
        name="scripts are loaded again",
        promise="P10",
        mechanism="a server that has forgotten a script is given it again",
        file="runner/store/redis/connection.py",
        before="            await self._heal(calls, replies)\n",
        after="",
        tests=(f"{REDIS}::test_a_redis_that_forgets_scripts_and_drops_connections_delays",),
    ),
    Mutation(
        name="asked again",
        promise="P10",
        mechanism="a command without an answer is asked again",
        file="runner/store/redis/pipeline.py",
        before="                if not is_passing(error):\n",
        after="                if True:\n",
        tests=(f"{HAPPENS_ONCE}[commit]", f"{HAPPENS_ONCE}[start]"),
    ),
    Mutation(
        name="consumers come back",
        promise="P10",
        mechanism="a consumer that lost its connection or its queue begins again",
        file="runner/broker/rabbitmq/consumer.py",
        before="            session, failures = await self._again(failures)\n",
        after="            return\n",
        tests=(f"{RABBIT}::test_queues_that_are_emptied_or_deleted_are_filled_and_declared_again",),
    ),
    Mutation(
        name="new work is refused by a full store",
        promise="P10",
        mechanism="a start is flagged so that a server at its memory limit refuses it before its first write",
        file=f"{LUA}/start.lua",
        before="#!lua\n",
        after="#!lua flags=allow-oom\n",
        tests=(f"{REDIS}::test_a_full_redis_refuses_new_work_and_all_that_runs_ends",),
    ),
    # -- P12: a deploy never destroys work --------------------------------------------------------
    Mutation(
        name="passing over",
        promise="P12",
        mechanism="a worker that does not know a workflow leaves it for one that does, and says so",
        file="workers/turns.py",
        before="            await self._returns.give_to_others(delivery)\n            return\n",
        after="            return\n",
        tests=(f"{CALLS}::test_a_workflow_that_a_worker_does_not_know_waits_for_one_that_does",),
    ),
    Mutation(
        name="the living are kept",
        promise="P12",
        mechanism="only what has ended is deleted when its retention is over",
        file=f"{LUA}/purge.lua",
        before="if r and TERMINAL[r.status] then",
        after="if r then",
        tests=(f"{CALLS}::test_what_lives_again_is_kept_though_it_was_to_be_deleted",),
    ),
)


def named(words: Iterable[str]) -> list[Mutation]:
    """Those whose names have one of these words in them; all of them without words."""
    wanted = list(words)
    return [one for one in MUTATIONS if not wanted or any(word in one.name for word in wanted)]


def table() -> str:
    """What docs/faults.md shows."""
    rows = ["| promise | mechanism | switched off in | noticed by |", "|---|---|---|---|"]
    for one in MUTATIONS:
        tests = ", ".join(dict.fromkeys(f"`{path}::{name}`" for path, name in one.functions()))
        rows.append(f"| {one.promise} | {one.name}: {one.mechanism} | [{one.file}](../{one.file}) | {tests} |")
    return "\n".join(rows)
