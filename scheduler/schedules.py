"""Schedules: what becomes of each tick is decided, written down, carried out, and written off, in this order.

A decision is a compare-and-set, carrying it out can be done twice. So any number of schedulers may do this at once, and any of
them may die between any two lines: whoever finds a decision carries it out, and nobody decides it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from runner.answers import all_answers
from runner.core.ticks import START, decide, done, failed
from runner.courier import Courier, Post
from runner.errors import InfrastructureError, StoreUnavailable
from runner.failures import said
from runner.firing import cancels_of, misstarted, start_of
from runner.fleet import workers_of
from runner.hooks import Hooks
from runner.log import Logger
from runner.records import Schedule
from runner.scheduler.patience import Hung, within
from runner.store import Store, Subscription
from runner.transactions import Delivered, DueSchedules, Start, Started

log = Logger("runner.scheduler")

#: Schedules of one round: their decisions travel together, and so do their starts.
LIMIT = 200
#: What one schedule may take to look at the executions that it waits for, in seconds.
PATIENCE_S = 10.0
#: Behind every push stands a poll: a notification can be lost without anybody noticing.
SAFETY_POLL_S = 1.0
#: After a round that brought nothing about, because others were faster or the store is away, in seconds.
REST_S = 0.1
AWAY_S = 1.0


class Schedules:
    """Carries out what schedules ask for, for as long as it runs."""

    def __init__(self, store: Store, post: Post, courier: Courier, hooks: Hooks, *, patience_s: float = 60.0) -> None:
        self._store = store
        self._post = post
        self._courier = courier
        self._hooks = hooks
        self._patience_s = patience_s

    async def run(self, words: Subscription) -> None:
        """Until cancelled, or until a round hangs (Hung). ``words``: tell of schedules that are due earlier than was known."""
        while True:
            try:
                await words.next(await within(self._patience_s, "the round of the schedules", self.round()))
            except Hung:
                raise
            except InfrastructureError as error:
                log.warning("schedules.store_unavailable", error=str(error))
                await asyncio.sleep(AWAY_S)
            except Exception:
                # Nothing that one round stumbles over may end all schedules: the next one looks afresh.
                log.exception("schedules.round_failed")
                await asyncio.sleep(AWAY_S)

    async def round(self) -> float:
        """Work off what is due; returns for how many seconds there is nothing to do."""
        due = await self._store.due_schedules(LIMIT)
        if due.schedules:
            return 0 if await self._work_off(due) else REST_S
        if due.next_at is None:
            return SAFETY_POLL_S
        return min(max(due.next_at - due.now, 0) / 1000, SAFETY_POLL_S)

    async def _work_off(self, due: DueSchedules) -> bool:
        """True when anything came of it."""
        found = [one for one in due.schedules if one.pending is not None]
        undecided = (one for one in due.schedules if one.pending is None)
        decided = await self._put(await all_answers(self._decided(one, due.now) for one in undecided))
        written = await self._carry_out([*found, *(one for one in decided if one.pending is not None)])
        await self._look_behind([*(one for one in decided if one.pending is None), *written])
        return bool(decided or written)

    # -- deciding ---------------------------------------------------------------------------------

    async def _decided(self, schedule: Schedule, now: int) -> Schedule:
        """The next revision, whatever comes: what is wrong with one schedule is written into it, and harms no other."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                ended = await self._ended(schedule.running)
            return decide(schedule, now, ended) or schedule
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this schedule alone
            return _broken(schedule, now, _words(error))

    async def _ended(self, ids: Iterable[str]) -> Collection[str]:
        """Those that have ended, or are not there any more."""
        asked = tuple(ids)
        records = await all_answers(self._store.record(id) for id in asked)
        return {id for id, record in zip(asked, records, strict=True) if record is None or record.status.terminal}

    # -- carrying out -----------------------------------------------------------------------------

    async def _carry_out(self, schedules: Sequence[Schedule]) -> list[Schedule]:
        """Have done what is pending, and write it off; what cannot be done stays pending. Returns what was written."""
        if not schedules:
            return []
        failing = await all_answers(map(self._cancelled, schedules))
        errors = {one.id: error for one, error in zip(schedules, failing, strict=True) if error}
        errors |= await self._start([one for one in schedules if one.id not in errors and _starts(one)])
        strangers = await self._unserved(one for one in schedules if _starts(one))
        now = await self._store.now()
        outcomes = (
            _broken(one, now, errors[one.id]) if one.id in errors else _written_off(one, now, strangers.get(one.id, ""))
            for one in schedules
        )
        return await self._put(list(outcomes))

    async def _cancelled(self, schedule: Schedule) -> str:
        """Cancel what its tick is to take the place of; returns what went wrong."""
        try:
            await self._pass_on(await all_answers(map(self._store.deliver, cancels_of(schedule))))
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this schedule alone
            return _words(error)
        return ""

    async def _start(self, schedules: Sequence[Schedule]) -> dict[str, str]:
        """Errors by schedule. All in one question; when the store stumbles over one, each in a question of its own."""
        if not schedules:
            return {}
        starts = [start_of(one, one.pending.execution_id) for one in schedules if one.pending is not None]
        try:
            answers = await self._store.start(starts)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - what is wrong with one must not stop the others
            if len(schedules) == 1:
                return {schedules[0].id: _words(error)}
            singly = await all_answers(self._start([one]) for one in schedules)
            return {id: error for alone in singly for id, error in alone.items()}
        await self._pass_on(answers)
        return _taken(schedules, starts, answers)

    async def _pass_on(self, answers: Sequence[Started | Delivered]) -> None:
        """Hints for who is ready, rows for who observes, parcels for who hears of an end."""
        self._post([answer.wake for answer in answers if answer.wake is not None])
        self._hooks.fire(row for answer in answers for row in answer.rows)
        await self._courier.send(parcel for answer in answers for parcel in answer.parcels)

    async def _unserved(self, schedules: Iterable[Schedule]) -> dict[str, str]:
        """Those whose executions wait for a worker that knows their workflow, while none does: nobody else would say so."""
        started = tuple(schedules)
        workers = await workers_of(self._store) if started else []
        known = {(name, version) for worker in workers for name, version, _ in worker.workflows}
        return {
            one.id: f"no live worker knows workflow {one.workflow!r} version {one.version}: its executions wait for one"
            for one in started
            if workers and (one.workflow, one.version) not in known
        }

    # -- writing ----------------------------------------------------------------------------------

    async def _put(self, schedules: Sequence[Schedule]) -> list[Schedule]:
        """Those that nobody else has changed meanwhile: they are as given from here on."""
        stored = await self._store.put_schedules(schedules) if schedules else []
        return [one for one, ours in zip(schedules, stored, strict=True) if ours]

    async def _look_behind(self, schedules: Iterable[Schedule]) -> None:
        """What a buffered tick waits for may have ended while this was being written, and its word been overwritten."""
        for one in schedules:
            if one.buffered is not None and one.running and await self._ended(one.running):
                await self._store.stir_schedule(one.id)


def _starts(schedule: Schedule) -> bool:
    return schedule.pending is not None and schedule.pending.action == START


def _written_off(schedule: Schedule, now: int, stranger: str) -> Schedule:
    written = done(schedule, now)
    return replace(written, error=stranger) if stranger else written


def _broken(schedule: Schedule, now: int, error: str) -> Schedule:
    log.warning("schedule.failed", schedule=schedule.id, failures=schedule.failures + 1, error=error)
    return failed(schedule, now, error)


def _taken(schedules: Sequence[Schedule], starts: Sequence[Start], answers: Sequence[Started]) -> dict[str, str]:
    asked = zip(schedules, starts, answers, strict=True)
    return {one.id: error for one, start, answer in asked if (error := misstarted(start, answer))}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {said(error)}"
