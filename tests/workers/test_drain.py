"""Leaving in phases: each is bounded, whatever hangs in it, and no phase keeps the next ones from their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from runner.workers.drain import FINISH, LEAST_S, PHASES, Act, Drain, budgets

NAMES = [phase.name for phase in PHASES]


def nothing_left() -> Mapping[str, int]:
    return {"turns": 0}


async def nothing() -> None: ...


@pytest.mark.parametrize("grace_s", [2.0, 5.0, 10.0, 30.0, 300.0])
def test_the_phases_together_take_the_grace_and_steps_most_of_it(grace_s: float) -> None:
    all = budgets(grace_s)
    assert list(all) and set(all) == set(NAMES)
    assert sum(all.values()) == pytest.approx(grace_s)
    assert all[FINISH] >= 0.4 * grace_s
    assert all[FINISH] >= grace_s - 8.5


@given(st.floats(min_value=0, max_value=86_400))
def test_whatever_the_grace_is_every_phase_is_bounded_and_all_of_them_together_too(grace_s: float) -> None:
    all = budgets(grace_s)
    assert set(all) == set(NAMES)
    assert min(all.values()) >= LEAST_S
    assert sum(all.values()) == pytest.approx(grace_s) if grace_s >= 1 else sum(all.values()) < 1


async def test_phases_that_all_hang_are_all_left_behind() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    with capture_logs() as logs:
        async with asyncio.timeout(30):
            await Drain(0).run(dict.fromkeys(NAMES, hang), nothing_left)
    assert [log["phase"] for log in logs if log["event"] == "worker.drain_phase_over_budget"] == NAMES


@pytest.mark.parametrize("hanging", NAMES)
async def test_a_phase_that_hangs_and_ignores_it_keeps_no_other_from_its_turn(hanging: str) -> None:
    gone: list[str] = []
    let_go = asyncio.Event()

    async def hang() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    def act(name: str) -> Act:
        async def one() -> None:
            gone.append(name)
            if name == hanging:
                await hang()

        return one

    try:
        with capture_logs() as logs:
            async with asyncio.timeout(30):
                await Drain(0.5).run({name: act(name) for name in NAMES}, nothing_left)
    finally:
        let_go.set()
    assert gone == NAMES
    over = [log["phase"] for log in logs if log["event"] == "worker.drain_phase_over_budget"]
    assert over == [hanging]
    assert [log["phase"] for log in logs if "phase" in log] == NAMES


async def test_a_phase_that_fails_is_said_and_passed() -> None:
    async def fails() -> None:
        raise RuntimeError("the store is closed")

    with capture_logs() as logs:
        await Drain(10).run(dict.fromkeys(NAMES, fails), nothing_left)
    failed: list[Any] = [log["phase"] for log in logs if log["event"] == "worker.drain_phase_failed"]
    assert failed == NAMES


async def test_a_hurry_ends_the_wait_for_steps_and_nothing_else() -> None:
    drain = Drain(3600)
    handed_back = asyncio.Event()

    async def never() -> None:
        drain.hurry()
        await asyncio.Event().wait()

    async def hand_back() -> None:
        handed_back.set()

    acts: dict[str, Act] = dict.fromkeys(NAMES, nothing)
    acts |= {FINISH: never, "hand back": hand_back}
    async with asyncio.timeout(30):
        await drain.run(acts, nothing_left)
    assert handed_back.is_set()
