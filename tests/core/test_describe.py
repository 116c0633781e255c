"""A workflow is described without doing any of it, whatever its code does with what it does not know."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from runner import (
    App,
    Case,
    Client,
    Context,
    Event,
    Flow,
    Node,
    PayloadError,
    Signal,
    TimedOut,
    UnknownWorkflow,
    UsageError,
)
from runner.describe import describe
from runner.describe.bound import bounded
from runner.describe.sketch import Enough

DAY = timedelta(days=1)
approved = Signal["Approval"]("approved")
shipped = Event[str]("shipped")


@dataclass(frozen=True)
class Approval:
    by: str


@dataclass(frozen=True)
class Order:
    id: str
    amount: int = 1


def never(*_: object) -> str:
    raise AssertionError("a step was run")


def flow_of(fn: Callable[..., Any], input: Any = None, **options: Any) -> Flow:
    app = App("described")
    workflow = app.workflow(**options)(fn)
    return describe(workflow, input, known=app.find)


def kinds(nodes: tuple[Node, ...]) -> list[Any]:
    """Kinds with ids, and the branches of those that divide."""
    return [
        (f"{node.kind} {node.id}".strip(), {arm.id: kinds(arm.nodes) for arm in node.branches})
        if node.branches
        else f"{node.kind} {node.id}".strip()
        for node in nodes
    ]


async def kid(ctx: Context, order: Order) -> str: ...


async def everything(ctx: Context, order: Order) -> str:
    async def line(name: str) -> str:
        return await ctx.step(f"line-{name}", never, name)

    charge = await ctx.step("charge", never, order).options(compensate=never, timeout=30)
    match await ctx.wait_for_signal(approved, timeout=DAY):
        case TimedOut():
            return "expired"
        case Approval(by=who):
            await ctx.note("approved", by=who)
    await ctx.sleep(timedelta(hours=1), id="cool-off")
    async with ctx.saga():
        await ctx.map("fan", line, [order.id, charge], max_concurrency=1)
    both = await ctx.gather(line("a"), ctx.sleep(1))
    assert len(both) == 2
    name, _ = await ctx.race("first", paid=ctx.wait_for_signal(approved), late=ctx.sleep(5))
    assert name != "paid"
    cases: list[Case[str, Any]] = [
        Case("big", lambda x: x > 3, lambda: line("b")),
        Case("none", "0", lambda: ctx.note("no")),
    ]
    await ctx.switch("size", charge, cases, default=lambda: ctx.sleep_until(ctx.now()))
    await ctx.emit(shipped, charge, id="told")
    child = await ctx.start_child("kid", "kid", Order(charge))
    await child.result(timeout=5)
    await ctx.run_child("twin", "kid", Order(charge))
    await ctx.wait_for_execution("kid", f"kid-{charge}")
    if ctx.patched("v2"):
        ctx.set_attributes(charge=charge)
    await ctx.rollback()
    await ctx.continue_as_new(Order(charge))
    return "never"


def everything_flow(input: Any = None) -> Flow:
    app = App("described")
    app.workflow("kid")(kid)
    return describe(app.workflow("all")(everything), input, known=app.find)


def test_every_kind_of_call_is_a_node_with_its_branches_and_no_step_is_run():
    assert kinds(everything_flow().nodes) == [
        "step charge",
        "wait_for_signal",
        "sleep cool-off",
        ("saga", {"body": [("map fan", {"each": ["step line-<input.id>"]})]}),
        ("gather", {"0": ["step line-a"], "1": ["sleep"]}),
        ("race first", {"paid": ["wait_for_signal"], "late": ["sleep"]}),
        ("switch size", {"big": ["step line-b"], "none": ["note"], "default": ["sleep"]}),
        "emit told",
        "child kid",
        "wait_for_execution kid",
        "child twin",
        "wait_for_execution",
        "patched v2",
        "rollback",
        "continue_as_new",
    ]


def test_a_node_says_what_it_is_of_and_what_bounds_it():
    charge, wait, sleep, *_ = everything_flow().nodes
    assert charge == Node(kind="step", id="charge", name="never", compensates=True, timeout=timedelta(seconds=30))
    assert wait == Node(kind="wait_for_signal", name="approved", timeout=DAY)
    assert sleep == Node(kind="sleep", id="cool-off", duration=timedelta(hours=1))


# -- input ---------------------------------------------------------------------------------------------


async def by_amount(ctx: Context, order: Order) -> None:
    for index in range(order.amount):
        await ctx.step(f"{order.id}-{index}", never)


def ids(flow: Flow) -> list[str]:
    return [node.id for node in flow.nodes]


def test_the_input_is_what_is_given_else_the_defaults_else_a_placeholder():
    assert ids(flow_of(by_amount, Order("x", 2), defaults=Order("d", 3))) == ["x-0", "x-1"]
    assert ids(flow_of(by_amount, defaults=Order("d", 3))) == ["d-0", "d-1", "d-2"]
    assert ids(flow_of(by_amount)) == ["<input.id>-0"]


def test_an_input_that_no_execution_could_start_with_is_refused():
    with pytest.raises(PayloadError, match="input"):
        flow_of(by_amount, "order")

    async def alone(ctx: Context) -> None: ...

    with pytest.raises(UsageError, match="takes no input"):
        flow_of(alone, 5)


def test_what_the_code_does_to_the_input_is_done_to_a_copy():
    async def greedy(ctx: Context, items: list[int]) -> None:
        items.clear()

    mine = [1]
    flow_of(greedy, mine)
    assert mine == [1]


# -- placeholders ----------------------------------------------------------------------------------------


def test_a_placeholder_goes_through_what_code_does_with_values():
    async def curious(ctx: Context, order: Order) -> None:
        result: Any = await ctx.step("get", never)
        a, b = result
        first, *rest = result.items
        *most, last, latest = result.items
        assert (len(rest), len(most)) == (1, 1)
        for key, value in result.parts.items():
            await ctx.step(f"part {key} {value}", never)
        total = 3 * result["total"] + sum(x.amount for x in result) - 1
        text = f"{result:>10}" + " at " + result.place + "".join(f"{total}")
        assert not (result == 1 or result < 1 or 1 in result or result or isinstance(result, str))
        assert result != 1
        assert (int(result), float(result), len(result), len(list(result))) == (1, 1.0, 1, 1)
        result.x, result["y"] = a, b
        await ctx.step(text, never, first, last, latest, hash(result))
        await ctx.sleep(result.pause)
        await ctx.wait_for_signal(Signal[int]("go"), timeout=result)

    flow = flow_of(curious)
    assert flow.nodes[-1].kind == "wait_for_signal"
    assert flow.nodes[1].id == "part <get.parts.items()[][]> <get.parts.items()[][]>"
    assert [node.duration for node in flow.nodes if node.kind == "sleep"] == [None]


def test_a_result_matches_no_pattern():
    async def picky(ctx: Context) -> None:
        match await ctx.step("get", never):
            case str() | int() | [*_] | {} | Order() | None | True:
                await ctx.note("matched")
            case _:
                await ctx.note("rest")

    assert [node.name for node in flow_of(picky).nodes] == ["never", "rest"]


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (lambda x: __import__("json").dumps(x), "TypeError: Object of type Placeholder is not JSON serializable"),
        (lambda x: (_ for _ in ()).throw(ValueError("no")), "ValueError: no"),
        (lambda x: asyncio.get_running_loop(), "RuntimeError: no running event loop"),
        (lambda x: sys.exit(3), "SystemExit: 3"),
    ],
)
def test_code_that_cannot_go_on_ends_with_the_reason_and_its_line(use, reason):
    async def stuck(ctx: Context) -> None:
        value = await ctx.step("get", never)
        use(value)
        await ctx.step("after", never)

    step, unknown = flow_of(stuck).nodes
    assert step.id == "get"
    assert unknown.kind == "unknown"
    assert unknown.reason.startswith(reason)
    assert f"{__file__}:" in unknown.reason


def test_a_branch_that_cannot_go_on_ends_alone():
    async def broken(ctx: Context) -> None:
        raise ValueError("mine")

    async def parted(ctx: Context) -> None:
        await ctx.gather(broken(ctx), ctx.sleep(1))
        await ctx.step("after", never)

    gathered, after = flow_of(parted).nodes
    assert kinds((gathered,)) == [("gather", {"0": ["unknown"], "1": ["sleep"]})]
    assert after.id == "after"


def test_what_a_turn_would_refuse_is_said():
    async def foreign(ctx: Context) -> None:
        await asyncio.sleep(0)

    async def forgetful(ctx: Context) -> None:
        ctx.step("pay", never)

    assert "which is no call of its ctx" in flow_of(foreign).nodes[-1].reason
    assert "never awaited" in flow_of(forgetful).nodes[-1].reason


async def test_code_cannot_reach_the_loop_or_the_variables_of_whoever_describes_it():
    mine: ContextVar[str] = ContextVar("mine", default="untouched")

    async def nosy(ctx: Context) -> None:
        mine.set("touched")
        asyncio.get_running_loop()

    assert "no running event loop" in flow_of(nosy).nodes[-1].reason
    assert mine.get() == "untouched"
    asyncio.get_running_loop()


# -- bounds ----------------------------------------------------------------------------------------------


def test_a_thousand_nodes_are_kept_branches_included():
    async def endless(ctx: Context) -> None:
        while True:
            try:
                await ctx.gather(ctx.sleep(1), ctx.step("again", never))
            except BaseException:  # swallows the end of the walk as well
                continue

    flow = flow_of(endless)
    assert flow.truncated
    assert sum(1 + sum(len(arm.nodes) for arm in node.branches) for node in flow.nodes) == 1000


def test_branches_that_were_never_begun_are_closed_in_silence():
    async def one(ctx: Context) -> None:
        await ctx.sleep(1)

    async def many(ctx: Context) -> None:
        for _ in range(999):
            await ctx.sleep(1)
        await ctx.gather(one(ctx), one(ctx))

    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        flow = flow_of(many)
        gc.collect()
    assert (len(flow.nodes), flow.truncated) == (1000, True)
    assert complaints == []


@pytest.mark.parametrize("line", ["pass", "ctx.uuid()", "ctx.patched('x')"])
def test_a_loop_that_awaits_nothing_ends(line):
    space: dict[str, Any] = {"Context": Context}
    exec(f"async def spin(ctx: Context) -> None:\n    await ctx.sleep(1)\n    while True: {line}\n", space)
    begun = time.monotonic()
    flow = flow_of(space["spin"])
    assert flow.nodes[0].kind == "sleep"
    assert flow.truncated or "without coming to an end" in flow.nodes[-1].reason
    assert time.monotonic() - begun < 20


def test_branches_within_branches_end_somewhere():
    async def deeper(ctx: Context) -> None:
        await ctx.gather(deeper(ctx))

    node: Node | None = flow_of(deeper).nodes[0]
    depth = 0
    while node is not None and node.branches:
        depth, node = depth + 1, next(iter(node.branches[0].nodes), None)
    assert depth == 50
    assert "50 deep" in flow_of(deeper).nodes[-1].reason


def test_the_bound_gives_back_the_tracer_that_was_there():
    former = sys.gettrace()

    def spin() -> None:
        while True:
            pass

    with pytest.raises(Enough, match="1,000 instructions"):
        bounded(spin, 1_000)
    assert sys.gettrace() is former
    assert bounded(lambda: 5) == 5


# -- the client ------------------------------------------------------------------------------------------


async def test_a_client_describes_what_its_app_knows_and_asks_no_backend():
    app = App("described")
    workflow = app.workflow("by-amount")(by_amount)
    client = Client(app, "redis://nowhere.invalid", "amqp://nowhere.invalid")  # never opened
    assert ids(await client.describe(workflow, Order("x", 2))) == ["x-0", "x-1"]
    assert ids(await client.describe("by-amount", {"id": "y"})) == ["y-0"]  # type: ignore[arg-type]
    assert (await client.describe(workflow)).workflow == "by-amount"
    with pytest.raises(UnknownWorkflow):
        await client.describe("other")
