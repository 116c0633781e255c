"""The mechanisms that keep a process from being alive for everybody but its work, each switched off: a part of ``MUTATIONS``."""

from __future__ import annotations

from tests.faults.mutations.mutation import HAPPENS_ONCE, LUA, Mutation

HEARING = "tests/workers/test_hearing.py"
HUNG = "tests/scheduler/test_hung.py"
LEASES = "tests/workers/test_leases.py"
LOOP = "tests/workers/test_loopwatch.py"
DRAIN = "tests/workers/test_drain.py"
LOSSES = "tests/contract/test_store_losses.py"

SUSPECTS = "tests/workers/test_suspects.py"

ALIVE = (
    Mutation(
        name="suspects",
        promise="P9",
        mechanism="what may be killing its workers shares no process with another one that may",
        file="workers/suspects.py",
        before="        if any(id != execution.id for id in self._here):\n            return False\n",
        after="",
        tests=(f"{SUSPECTS}::test_a_second_suspect_is_passed_over_with_the_reason_and_runs_afterwards",),
    ),
    Mutation(
        name="alone from the beginning",
        promise="P9",
        mechanism="what was claimed together with a suspect is given back before that one begins",
        file="workers/turns.py",
        before="            await self._suspects.alone(execution)\n",
        after="",
        tests=(f"{SUSPECTS}::test_what_was_claimed_together_with_a_suspect_is_given_back_before_that_begins",),
    ),
    Mutation(
        name="repeated break-off",
        promise="P9",
        mechanism="who lost the answer to a turn that broke is told the same again, and passes it over",
        file=f"{LUA}/break_off.lua",
        before="r.answer == BROKEN and is_ready(r) and wake(r)",
        after="false",
        tests=(f"{HAPPENS_ONCE}[break_off]",),
    ),
    Mutation(
        name="kept from the claim on",
        promise="P9",
        mechanism="a lease is renewed before its turn begins: what hangs at its history loses it behind its worker, a crash",
        file="workers/turns.py",
        before="        self.leases.hold(lease)\n",
        after="",
        tests=(
            "tests/security/test_codecs.py::test_a_codec_that_hangs_costs_its_execution_a_crash_and_in_the_end_nobody_else",
        ),
    ),
    Mutation(
        name="overtaken renewal",
        promise="P9",
        mechanism="a renewal that was asked before its claim was answered says nothing of a lease that it does not find",
        file="workers/leases.py",
        before="if answer.held or claimed:",
        after="if True:",
        tests=("tests/workers/test_leases.py::test_a_renewal_that_overtook_the_claim_takes_nothing_from_its_turn",),
    ),
    Mutation(
        name="rewind at claim",
        promise="P10",
        mechanism="a record that is behind the hint which led to it is counted, audited and said: the store went back",
        file=f"{LUA}/claim.lua",
        before="rewind(r, hinted)\n",
        after="",
        tests=(f"{LOSSES}::test_a_record_that_cannot_be_claimed_is_counted_and_said_all_the_same",),
    ),
    Mutation(
        name="deaf, a new session",
        promise="P10",
        mechanism="a worker that is brought nothing, though hints wait and it has room, takes a new session",
        file="workers/hearing.py",
        before="Verdict.RENEW if deaf_looks % RENEW_EVERY == 0 else Verdict.WELL",
        after="Verdict.WELL",
        tests=(f"{HEARING}::test_a_subscription_that_brings_nothing_is_taken_anew",),
    ),
    Mutation(
        name="deaf, a new process",
        promise="P10",
        mechanism="a worker whom no new session helps leaves for another one",
        file="workers/hearing.py",
        before="        return Verdict.LEAVE\n",
        after="        return Verdict.RENEW\n",
        tests=(f"{HEARING}::test_a_worker_that_stays_deaf_leaves_for_another",),
    ),
    Mutation(
        name="loop watch",
        promise="P10",
        mechanism="a process whose loop is blocked ends itself, for its supervisor to start another",
        file="runner/loopwatch.py",
        before="                self._give_up()\n",
        after="                pass\n",
        tests=(
            f"{LOOP}::test_a_dead_loop_ends_the_process",
            f"{HUNG}::test_a_scheduler_whose_loop_is_blocked_says_where_and_makes_room_for_another",
        ),
    ),
    Mutation(
        name="loop watch and leases",
        promise="P10",
        mechanism="the thread that renews leases stops when the loop does not turn",
        file="workers/leases.py",
        before="            if self._loop_alive():\n                self._round()\n",
        after="            self._round()\n",
        tests=(f"{LEASES}::test_a_worker_whose_loop_is_dead_renews_nothing",),
    ),
    Mutation(
        name="lease keeper",
        promise="P10",
        mechanism="the thread that renews leases outlives every trouble with the store",
        file="workers/leases.py",
        before='        except StoreUnavailable as error:\n            log.warning("lease.renewal_failed"',
        after='        except StoreUnavailable as error:\n            self._stopping.set()\n            log.warning("lease.renewal_failed"',
        tests=(f"{LEASES}::test_the_keeper_renews_all_and_tells_what_came_of_it",),
    ),
    Mutation(
        name="patience with duties",
        promise="P10",
        mechanism="a leader one of whose duties hangs gives the seat up",
        file="scheduler/shift.py",
        before="            if boot_ms() - since > patience_s * 1000:\n",
        after="            if False:\n",
        tests=(f"{HUNG}::test_a_leader_that_hangs_is_followed_by_another[due]",),
    ),
    Mutation(
        name="patience with looks",
        promise="P10",
        mechanism="a leader whose look at the store, or round of schedules, hangs gives the seat up",
        file="scheduler/patience.py",
        before="        await asyncio.wait({task}, timeout=seconds)\n",
        after="        await asyncio.wait({task})\n",
        tests=(
            f"{HUNG}::test_a_leader_that_hangs_is_followed_by_another[next_due]",
            f"{HUNG}::test_a_leader_that_hangs_is_followed_by_another[due_schedules]",
        ),
    ),
    Mutation(
        name="phases are bounded",
        promise="P10",
        mechanism="what hangs while a worker leaves is left behind, and the next phase begins",
        file="workers/drain.py",
        before="await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)",
        after="await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)",
        tests=(f"{DRAIN}::test_a_phase_that_hangs_and_ignores_it_keeps_no_other_from_its_turn[farewell]",),
    ),
    Mutation(
        name="phases share the grace",
        promise="P10",
        mechanism="the budgets of all phases together are the grace",
        file="workers/drain.py",
        before="max(grace_s - sum(others.values()), LEAST_S)",
        after="max(grace_s, LEAST_S)",
        tests=(f"{DRAIN}::test_the_phases_together_take_the_grace_and_steps_most_of_it",),
    ),
)
