"""Scheduling: what a client can do with schedules. Each change is decided on what was just read, and compared and set."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, Unpack, overload
from zoneinfo import ZoneInfo

from runner.caller import Caller
from runner.core.grid import cadence_of, execution_id, next_fires
from runner.core.retry import Duration
from runner.core.ticks import ensured, paused, resumed, updated
from runner.durations import to_moment_ms
from runner.errors import ConflictingSchedule, ConflictingStart, StoreConflict, UnknownSchedule, UsageError
from runner.firing import misstarted, start_of
from runner.handle import Handle
from runner.records import Overlap, Schedule
from runner.schedules import ScheduleOptions, change_input, change_schedule, check_schedule_id, make_schedule
from runner.workflow import Workflow

I = TypeVar("I")  # noqa: E741 - input

#: An ``at`` that is no longer past than this is taken for now: clocks differ, and calls take time.
GRACE_MS = 60_000
#: Looks at a schedule that is never as it was a moment ago, before a change is given up.
MAX_LOOKS = 20
#: Ticks that one backfill may have.
MAX_BACKFILL = 10_000
#: Schedules on one page of a listing, at most.
MAX_PAGE = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNCHANGED: Final = object()

Change = Callable[[Schedule | None, int], Schedule | None]
#: Told how many of how many are done.
Progress = Callable[[int, int], None]


class Scheduling(Caller):
    """The scheduling half of a Client. What it returns is the schedule as it is kept then."""

    @overload
    async def ensure_schedule(
        self, workflow: Workflow[None, Any], input: None = None, *, id: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    async def ensure_schedule(
        self, workflow: Workflow[I, Any], input: I, *, id: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    async def ensure_schedule(
        self, workflow: str, input: Any = None, *, id: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    async def ensure_schedule(
        self, workflow: Any, input: Any = None, *, id: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """Have a schedule of this id, as it is said here: to be called at every start of a service, by any number at once.

        ``cron`` (five fields, or ``@daily`` …) in ``timezone``, or ``interval``. With the cadence unchanged, nothing moves
        its next tick; another cadence has its first tick from now on. It stays paused when it is. ``overlap``: what a tick
        does while an execution of an earlier one runs: ``allow``, ``skip``, ``buffer_one`` (it starts when that has
        ended), ``cancel_other``. ``catch_up``: of ticks that nobody was there for. ``jitter``: each tick is late by up to
        so much, always by the same. ``start_at``, ``end_at``, ``max_runs``: from when, until when, and how often.
        ``timeout``, ``queue``, ``attributes``: of the executions, as in ``start``.

        Raises UsageError, PayloadError or UnknownWorkflow, with nothing stored, and ConflictingSchedule when the id is that
        of a schedule of another workflow.
        """
        definition = await self._definition(workflow)

        def wanted(kept: Schedule | None, now: int) -> Schedule | None:
            made = make_schedule(definition, input, id=id, plain=isinstance(workflow, str), now=now, options=options)
            _check_workflow(kept, made)
            return ensured(kept, made, now)

        return await self._change(id, wanted)

    async def update_schedule(
        self, id: str, *, input: Any = _UNCHANGED, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """Change what is said, and nothing else. Its next tick moves only with its cadence.

        Raises UnknownSchedule, UsageError or PayloadError, with nothing changed.
        """
        kept = await self.get_schedule(id)
        definition = None if input is _UNCHANGED else await self._definition(kept.workflow)

        def wanted(kept: Schedule | None, now: int) -> Schedule:
            old = self._known(kept, id)
            new = change_schedule(old, options, now)
            return updated(old, new if definition is None else change_input(new, definition, input), now)

        return await self._change(id, wanted)

    async def pause_schedule(self, id: str, note: str = "") -> Schedule:
        """No tick is run until it is resumed; ``note`` says why. Raises UnknownSchedule."""
        return await self._change(id, lambda kept, now: paused(self._known(kept, id), note, now))

    async def resume_schedule(self, id: str) -> Schedule:
        """Its next regular tick runs; those since it was paused do not. Raises UnknownSchedule."""
        return await self._change(id, lambda kept, now: resumed(self._known(kept, id), now))

    async def remove_schedule(self, id: str) -> bool:
        """No tick of it runs any more; what it has started goes on. False when there is none."""
        for _ in range(MAX_LOOKS):
            kept = await self.store.schedule(check_schedule_id(id))
            if kept is None:
                return False
            if await self.store.drop_schedule(id, kept.revision):
                return True
        raise _restless(id)

    async def trigger_schedule(self, id: str) -> Handle[Any]:
        """Start an execution now, beside its ticks: also while it is paused, and while an earlier one runs.

        What runs counts for its overlap policy as an execution of a tick does. Raises UnknownSchedule, Overloaded.
        """
        moment = execution_id(id, await self.store.now())
        # No tick has such an id: one of this very millisecond is another execution.
        triggered = f"{moment}-{secrets.token_hex(4)}"
        kept = await self._change(id, lambda kept, _: _running(self._known(kept, id), triggered))
        (handle,) = await self._start_all(kept, [triggered])
        return handle

    async def backfill_schedule(
        self, id: str, start: datetime, end: datetime, *, per_second: float = 50, progress: Progress | None = None
    ) -> list[Handle[Any]]:
        """Run every tick from ``start`` to ``end``, both included, that has not run; handles of all, in their order.

        Each tick is one execution, whoever starts it: repeating is safe for as long as executions are kept. Overlap policy,
        pause and ``max_runs`` do not matter here. ``per_second``: so many are started at most. At most 10,000 ticks.

        Raises UnknownSchedule; UsageError for an ``end`` that has not come yet; ConflictingStart; Overloaded.
        """
        if per_second <= 0:
            raise UsageError(f"per_second={per_second}: how many executions may be started in a second, more than 0")
        schedule = await self.get_schedule(id)
        first, last = to_moment_ms(start, what="start"), to_moment_ms(end, what="end")
        if last > await self.store.now():
            raise UsageError("end: it has not come yet; ticks of the future run by themselves")
        # In a thread: many ticks of a cron expression would hold up this loop.
        ids = await asyncio.to_thread(_ticks, schedule, first, last)
        return await self._start_slowly(schedule, ids, per_second, progress or _in_silence)

    # -- looking ----------------------------------------------------------------------------------

    async def get_schedule(self, id: str) -> Schedule:
        """The schedule as it is now. Raises UnknownSchedule."""
        return self._known(await self.store.schedule(check_schedule_id(id)), id)

    async def list_schedules(self, *, limit: int = 100, after: str = "") -> list[Schedule]:
        """Schedules by id, those behind ``after``."""
        if not 1 <= limit <= MAX_PAGE:
            raise UsageError(f"limit={limit!r}: a number from 1 to {MAX_PAGE}")
        return await self.store.schedules(limit, after)

    async def next_fires(self, id: str, count: int = 5) -> list[datetime]:
        """When it will fire next, in its time zone; nothing while it is paused. Raises UnknownSchedule."""
        schedule = await self.get_schedule(id)
        return fires_of(schedule, count, await self.store.now())

    # -- inside -----------------------------------------------------------------------------------

    async def _change(self, id: str, decide: Change) -> Schedule:
        """Look, decide, compare and set; look again while somebody else is faster."""
        check_schedule_id(id)
        for _ in range(MAX_LOOKS):
            kept, now = await asyncio.gather(self.store.schedule(id), self.store.now())
            new = decide(kept, now)
            if new is None:
                return self._known(kept, id)
            (stored,) = await self.store.put_schedules([new])
            if stored:
                return new
        raise _restless(id)

    async def _start_all(self, schedule: Schedule, ids: Sequence[str]) -> list[Handle[Any]]:
        starts = [start_of(schedule, one) for one in ids]
        answers = await self.store.start(starts)
        await self.announce(*answers)
        for start, answer in zip(starts, answers, strict=True):
            if error := misstarted(start, answer):
                raise ConflictingStart(error, execution_id=start.id)
        return [self.handle(one, schedule.workflow) for one in ids]

    async def _start_slowly(
        self, schedule: Schedule, ids: Sequence[str], per_second: float, progress: Progress
    ) -> list[Handle[Any]]:
        handles: list[Handle[Any]] = []
        batch = max(1, min(int(per_second / 10), 100))
        progress(0, len(ids))
        while len(handles) < len(ids):
            if handles:
                await asyncio.sleep(batch / per_second)
            handles += await self._start_all(schedule, ids[len(handles) : len(handles) + batch])
            progress(len(handles), len(ids))
        return handles

    def _known(self, kept: Schedule | None, id: str) -> Schedule:
        if kept is None:
            raise UnknownSchedule(f"namespace {self.app.name!r} has no schedule {id!r}")
        return kept


def check_due(at: datetime | None, delay: Duration | None, now: int) -> None:
    """Raises UsageError for neither or both of them, and for an ``at`` that is long past."""
    if (at is None) == (delay is None):
        raise UsageError("schedule: give either `at` or `delay`; what is to start now is `start`")
    if at is not None and to_moment_ms(at, what="at") < now - GRACE_MS:
        raise UsageError(f"at={at.isoformat()} is more than {GRACE_MS // 1000} s past; what is to start now is `start`")


def fires_of(schedule: Schedule, count: int, now: int) -> list[datetime]:
    """The next moments at which it fires, as its clocks show them."""
    zone = ZoneInfo(schedule.timezone)
    return [(_EPOCH + timedelta(milliseconds=fire)).astimezone(zone) for fire in next_fires(schedule, count, now)]


def _check_workflow(kept: Schedule | None, made: Schedule) -> None:
    if kept is not None and kept.workflow != made.workflow:
        raise ConflictingSchedule(
            f"schedule {made.id!r} belongs to workflow {kept.workflow!r}, not to {made.workflow!r}: "
            "give another id, or remove that one first"
        )


def _running(schedule: Schedule, execution_id: str) -> Schedule | None:
    """With an execution that its ticks are to reckon with; None where they do not care."""
    if schedule.overlap is Overlap.ALLOW:
        return None
    return replace(schedule, revision=schedule.revision + 1, running=(*schedule.running, execution_id))


def _ticks(schedule: Schedule, first: int, last: int) -> list[str]:
    """The ids of the executions of all ticks in between, both included. Raises UsageError for too many."""
    ids: list[str] = []
    cadence = cadence_of(schedule)
    tick = cadence.next_after(first - 1)
    while tick is not None and tick <= last:
        if len(ids) == MAX_BACKFILL:
            raise UsageError(f"more than {MAX_BACKFILL:,} ticks lie between start and end: backfill a part at a time")
        ids.append(execution_id(schedule.id, tick))
        tick = cadence.next_after(tick)
    return ids


def _restless(id: str) -> StoreConflict:
    return StoreConflict(f"schedule {id!r} changed at each of {MAX_LOOKS} looks; nothing was done: try again")


def _in_silence(_done: int, _total: int) -> None:
    """Nobody wants to be told."""
