"""The program that runs under faults: what it gives back is a pure function of its number and its signals.

Every call of a step gives back a token of its own beside its value. The next step is handed that token and writes it
into the ledger: whoever was ever shown another result of the same step was shown a result that changed.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from runner import App, Context, Signal
from runner.step import current_step
from tests.e2e import ledger

LEDGER = os.environ.get("RUNNER_TEST_LEDGER", "/dev/null")
#: How long ended executions are kept; a long run must not fill its Redis.
KEPT = timedelta(seconds=float(os.environ.get("RUNNER_TEST_KEPT_S", "604800")))
SLEEP_S = 0.3
BODY_S = 0.02
#: Every so many executions have a child.
CHILD_EVERY = 10
SIGNALS = ("first", "second")

app = App(os.environ.get("RUNNER_TEST_NAMESPACE", "faults"))
told = Signal[str]("told")


@dataclass(frozen=True)
class Order:
    number: int


@dataclass(frozen=True)
class Made:
    """What a step made: its value, and the token of the call that made it."""

    value: int
    token: str


@dataclass(frozen=True)
class Report:
    """What an execution gives back. ``early``: a sleep was over before its time, by the store's clock."""

    value: int
    heard: list[str]
    tokens: dict[str, str]
    early: bool


async def work(name: str, given: Made) -> Made:
    at = time.monotonic()  # first of all: from here on it counts as called
    step = current_step()
    where = {"execution": step.execution_id, "step": step.id, "attempt": step.attempt, "key": step.idempotency_key}
    ledger.write(LEDGER, kind="called", **where, called_at=at, given=given.token, tasks=len(asyncio.all_tasks()))
    await asyncio.sleep(BODY_S)
    made = Made(worth(name, given.value), secrets.token_hex(4))
    ledger.write(LEDGER, kind="effect", **where, token=made.token)
    return made


@app.workflow("order", signals=[told], retention=KEPT)
async def order(ctx: Context, given: Order) -> Report:
    tokens: dict[str, str] = {}

    async def do(name: str, made: Made) -> Made:
        made = await ctx.step(name, work, name, made)
        tokens[name] = made.token
        return made

    made = await do("charge", await do("reserve", Made(given.number, "")))
    begun = ctx.now()
    await ctx.sleep(SLEEP_S)
    early = ctx.now() - begun < timedelta(seconds=SLEEP_S)
    heard = [await ctx.wait_for_signal(told)]
    made = await do("pack", made)
    heard.append(await ctx.wait_for_signal(told))
    if has_child(given.number):
        part = await ctx.run_child("parcel", parcel, Order(made.value))
        made = Made(part.value, made.token)
        tokens |= part.tokens
    made = await do("invoice", await do("ship", made))
    return Report(made.value, heard, tokens, early)


@app.workflow("parcel", retention=KEPT)
async def parcel(ctx: Context, given: Order) -> Report:
    made = await ctx.step("wrap", work, "wrap", Made(given.number, ""))
    return Report(made.value, [], {"wrap": made.token}, early=False)


# --- what must come of it: pure ------------------------------------------------------------------------------


STEPS = {"order": ("reserve", "charge", "pack", "ship", "invoice"), "parcel": ("wrap",)}


def worth(name: str, value: int) -> int:
    """What a step makes of a value: no two steps and no two orders of them come to the same."""
    return (value * 31 + sum(name.encode())) % 1_000_003


def has_child(number: int) -> bool:
    return number % CHILD_EVERY == 0


def value_of(number: int) -> int:
    """The value of the report of order ``number``."""
    value = worth("pack", worth("charge", worth("reserve", number)))
    if has_child(number):
        value = worth("wrap", value)
    return worth("invoice", worth("ship", value))


def signals_of(number: int) -> Sequence[str]:
    """What order ``number`` is told, in this order."""
    return [f"{number} {which}" for which in SIGNALS]
