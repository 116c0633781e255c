"""What a program may write against the public API, and the types that come out. Only ever type-checked.

A line with an ignore is one that the checkers must refuse: an ignore that is not needed is an error itself.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

from runner import App, Client, Context, Event, Execution, Handle, Outcome, Signal, Status, TimedOut, Workflow, events

app = App("shop")


@dataclass(frozen=True)
class Order:
    id: str


@dataclass(frozen=True)
class Approval:
    by: str


approved = Signal[Approval]("approved")
shipped = Event[Order]("order.shipped")


@app.step
async def charge(order: Order, amount: int = 1) -> str:
    return f"{order.id}{amount}"


@app.step(timeout=5)
def weigh(order: Order) -> float:  # a plain function is a step too
    return float(len(order.id))


@app.workflow("order", signals=[approved], timeout=timedelta(days=1))
async def ship(ctx: Context, order: Order) -> bool:
    assert_type(await ctx.step("charge", charge, order, amount=3), str)
    assert_type(await ctx.step("weigh", weigh, order), float)
    assert_type(await ctx.sleep(5), None)
    assert_type(await ctx.wait_for_signal(approved), Approval)
    assert_type(await ctx.wait_for_signal(approved, timeout=timedelta(hours=1)), Approval | TimedOut)
    both = await ctx.gather(ctx.step("a", charge, order), ctx.step("b", weigh, order))
    assert_type(both, tuple[str, float])
    return True


@app.workflow()
async def tick(ctx: Context) -> None:
    await ctx.sleep(1)


assert_type(ship, Workflow[Order, bool])
assert_type(tick, Workflow[None, None])


async def produce(client: Client) -> None:
    handle = await client.start(ship, Order("1"))
    assert_type(handle, Handle[bool])
    assert_type(await handle.result(), bool)
    assert_type(await handle.status(), Status)
    assert_type(await handle.execution(), Execution)
    assert_type(await handle.signal(approved, Approval("me")), bool)
    assert_type(await handle.cancel("changed my mind"), bool)
    assert_type(await client.start(tick), Handle[None])
    assert_type(await client.start_and_wait(ship, Order("2")), Outcome[bool])


@app.on(shipped)
async def mail(order: Order) -> None:
    assert_type(order.id, str)


@app.on(shipped, name="books")
def book(order: Order) -> None: ...


@app.on(events.StepCompleted)
async def count(event: events.StepCompleted) -> None:
    assert_type(event.duration_ms, int)


app.on(events.WorkerEvent)(print)
app.on(shipped)(charge)


async def embedded() -> None:
    async with app.embedded() as client:
        assert_type(client, Client)


def deaf(order: Approval) -> None: ...


async def refused(ctx: Context, client: Client, order: Order) -> None:
    await ctx.step("charge", charge, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.step("charge", charge)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await client.start(ship, "1")  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await client.start(ship)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    handle = await client.start(ship, order)
    await handle.signal(approved, "me")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    approval = await ctx.wait_for_signal(approved, timeout=1)
    print(approval.by)  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    app.on(shipped)(deaf)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.on(events.StepCompleted)(deaf)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
