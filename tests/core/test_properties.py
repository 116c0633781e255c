"""What must hold for every workflow, every order and every crash: found by Hypothesis, not by us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st

from runner import App, Cancelled, Case, Context, Event, StepFailed
from runner.core.commands import Opened
from runner.core.replay import Outcome, Raised, Returned
from tests.core.world import World, workflow


@dataclass(frozen=True)
class Do:
    """A part of a random workflow: something that is done, or something that is made of parts in a row."""

    kind: str
    fails: bool = False
    parts: tuple[tuple[Do, ...], ...] = ()


leaves = st.one_of(
    st.builds(Do, st.sampled_from(["step", "undoable"]), st.booleans()),
    st.builds(Do, st.sampled_from(["sleep", "note", "emit", "patch", "child", "rollback"])),
)
programs = st.lists(
    st.recursive(
        leaves,
        lambda inner: st.builds(
            lambda kind, parts, fails: Do(kind, fails, tuple(tuple(part) for part in parts)),
            st.sampled_from(["gather", "map", "race", "switch", "saga"]),
            st.lists(st.lists(inner, max_size=3), min_size=1, max_size=3),
            st.booleans(),
        ),
        max_leaves=10,
    ),
    min_size=1,
    max_size=5,
)


def work(id: str, fails: bool) -> str:
    if fails:
        raise ValueError(id)
    return id


def undo(id: str) -> None:
    """The world notes every call."""


told = Event[str]("told")


@App("other").workflow("other")
async def other(ctx: Context, path: str) -> str:
    return path


@dataclass
class Programmed:
    """A workflow that does a program, and logs in one list what it saw, in the order in which it saw it."""

    program: list[Do]

    async def __call__(self, ctx: Context) -> list[str]:
        seen: list[str] = []
        await self.series(ctx, self.program, "r", seen)
        # The id asked for depends on the order in which results came: a replay must see the same order.
        await ctx.step(f"last after {len(seen)} {crc32(repr(seen).encode())}", work, "last", False)
        return seen

    async def series(self, ctx: Context, parts: Sequence[Do], path: str, seen: list[str]) -> None:
        for number, part in enumerate(parts):
            await self.guarded(ctx, part, f"{path}.{number}", seen)

    async def guarded(self, ctx: Context, part: Do, path: str, seen: list[str]) -> None:
        try:
            await self.one(ctx, part, path, seen)
        except StepFailed as failed:
            seen.append(f"caught {failed.step} {ctx.random()}")
            if part.kind in ("step", "saga") and len(path) % 3 == 0:
                raise
        except Cancelled:
            seen.append(f"cancelled {path}")
            raise

    async def one(self, ctx: Context, part: Do, path: str, seen: list[str]) -> None:
        match part.kind:
            case "step":
                seen.append(await ctx.step(path, work, path, part.fails))
            case "sleep":
                await ctx.sleep(1)
                seen.append(f"{path} {ctx.now().timestamp()}")
            case _:
                await self.told(ctx, part, path, seen)

    async def told(self, ctx: Context, part: Do, path: str, seen: list[str]) -> None:
        match part.kind:
            case "undoable":
                seen.append(await ctx.step(path, work, path, part.fails).options(compensate=undo))
            case "note":
                await ctx.note(path, random=ctx.random())
            case "emit":
                await ctx.emit(told, path)
            case "patch":
                seen.append(f"{path} {ctx.patched(path)}")
            case "child":
                child = await ctx.start_child(path, other, path)
                seen.append(f"{child.id} {await child.result(timeout=5)}")
            case "rollback":
                await ctx.rollback()
            case _:
                await self.whole(ctx, part, path, seen)

    async def whole(self, ctx: Context, part: Do, path: str, seen: list[str]) -> None:
        def branch(index: int) -> Any:
            return self.series(ctx, part.parts[index], f"{path}/{index}", seen)

        match part.kind:
            case "gather":
                branches = [branch(index) for index in range(len(part.parts))]
                await ctx.gather(*branches, return_exceptions=part.fails)
            case "map":
                await ctx.map(path, branch, range(len(part.parts)), max_concurrency=2)
            case "race":
                branches = {f"b{index}": branch(index) for index in range(len(part.parts))}
                seen.append((await ctx.race(path, **branches))[0])
            case "switch":
                cases = [
                    Case(str(index), lambda r, index=index: r * 3 >= index, partial(branch, index))
                    for index in range(len(part.parts))
                ]
                await ctx.switch(path, ctx.random(), cases[::-1])
            case _:
                async with ctx.saga():
                    await branch(0)
                    if part.fails:
                        await ctx.step(f"{path} fails", work, path, True)


def written(program: list[Do]) -> Any:
    programmed = Programmed(program)

    async def flow(ctx: Context) -> list[str]:
        return await programmed(ctx)

    return flow


def shown(outcome: Outcome) -> Any:
    match outcome:
        case Returned(value):
            return value
        case Raised(error, entries):
            return type(error).__name__, str(error), entries
        case _:
            return outcome


def picked(data: st.DataObject) -> Callable[[list[Opened]], Opened]:
    return lambda opened: opened[data.draw(st.integers(0, len(opened) - 1))]


@given(programs, st.data())
@settings(max_examples=100, deadline=None)
def test_replay_is_a_fixed_point_for_every_completion_order(program: list[Do], data: st.DataObject) -> None:
    """Once live, then from the journal alone: the same outcome, and not one body run again."""
    world = World(workflow(written(program)))
    live = shown(world.run(choose=picked(data)))
    calls = list(world.calls)
    for _ in range(2):
        assert shown(world.replay().outcome) == live  # type: ignore[arg-type]
    assert world.calls == calls
    assert len(calls) == len(set(calls))


@given(programs, st.data())
@settings(max_examples=100, deadline=None)
def test_any_crash_point_resumes_to_the_same_result(program: list[Do], data: st.DataObject) -> None:
    """Crashes before and after each commit: the outcome is that of a replay that never crashed."""
    world = World(workflow(written(program)))
    crashes = iter(data.draw(st.lists(st.booleans(), max_size=60)))
    outcome = shown(world.run(choose=picked(data), crash=lambda: next(crashes, False)))
    assert shown(world.replay().outcome) == outcome  # type: ignore[arg-type]
    recorded = [entry.id for entry in world.journal]
    assert len(recorded) == len(set(recorded))


@given(programs, st.data())
@settings(max_examples=80, deadline=None)
def test_every_prefix_of_the_journal_asks_for_what_was_asked_then(program: list[Do], data: st.DataObject) -> None:
    """A replay of the first n entries stands exactly where the live run stood after n entries."""
    world = World(workflow(written(program)))
    world.run(choose=picked(data))
    whole = list(world.journal)
    for length in range(len(whole)):
        if whole[length].kind == "patch":
            continue  # it is written with what came before it, or not at all
        world.journal = whole[:length]
        replay = world.replay()
        assert sorted(replay.open) == world.asked[len(world.journal)]
        world.isolation.run(replay.close)


@given(programs, st.integers(0, 8), st.data())
@settings(max_examples=80, deadline=None)
def test_a_cancel_at_any_place_replays_alike(program: list[Do], after: int, data: st.DataObject) -> None:
    world = World(workflow(written(program)))
    rounds = iter(range(10_000))

    def choose(opened: list[Opened]) -> Opened:
        return picked(data)(opened)

    def crash() -> bool:
        if next(rounds) == after * 2:
            world.cancel()
            return True
        return False

    live = shown(world.run(choose=choose, crash=crash))
    assert shown(world.replay().outcome) == live  # type: ignore[arg-type]


@given(st.integers(2, 6), st.data())
@settings(max_examples=100, deadline=None)
def test_any_completion_order_of_branches_gives_one_outcome(width: int, data: st.DataObject) -> None:
    async def branch(ctx: Context, name: str) -> str:
        a = await ctx.step(f"{name}.1", work, f"{name}1", False)
        await ctx.sleep(1)
        return a + await ctx.step(f"{name}.2", work, f"{name}2", False)

    async def flow(ctx: Context) -> Any:
        return await ctx.gather(*(branch(ctx, str(number)) for number in range(width)))

    world = World(workflow(flow))
    outcome = world.run(choose=picked(data))
    assert outcome == Returned(tuple(f"{n}1{n}2" for n in range(width)))
    assert len(world.calls) == 2 * width
