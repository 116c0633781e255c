"""One end (P8), which what is broken reaches too (P9), through outages (P10) and deploys (P12)."""

from __future__ import annotations

from tests.faults.mutations.mutation import CALLS, HAPPENS_ONCE, LUA, RABBIT, REDIS, Mutation

ENDING = (
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
        name="a hint beyond belief",
        promise="P9",
        mechanism="a record does not follow a hint to numbers from which no wake-up could be counted on",
        file=f"{LUA}/parts/losses.lua",
        before=" and hinted - r.seq <= LIMITS.leap",
        after="",
        tests=("tests/contract/test_store_losses.py::test_a_forged_hint_that_is_ahead_does_no_harm",),
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
