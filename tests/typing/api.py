"""What a program may write against the public API, and the types that come out. Only ever type-checked.

A line with an ignore is one that the checkers must refuse: an ignore that is not needed is an error itself.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

from runner import (
    App,
    Case,
    CatchUp,
    Child,
    Client,
    Context,
    Event,
    Execution,
    Flow,
    Handle,
    Outcome,
    PayloadCodec,
    Schedule,
    Signal,
    Status,
    SyncClient,
    SyncHandle,
    TimedOut,
    Workflow,
    events,
)

app = App("shop")


@dataclass(frozen=True)
class Order:
    id: str


@dataclass(frozen=True)
class Approval:
    by: str


approved = Signal[Approval]("approved")
parcelled = Event[Order]("order.shipped")
shipped = Event[Approval]("shipped")


class Mirror:
    """A class of one's own is a payload codec by its methods."""

    def encode(self, payload: bytes) -> bytes:
        return payload[::-1]

    def decode(self, payload: bytes) -> bytes:
        return payload[::-1]


codec: PayloadCodec = Mirror()
sealed = App("sealed", payload_codec=Mirror())


@app.step
async def charge(order: Order, amount: int = 1) -> str:
    return f"{order.id}{amount}"


@app.step(timeout=5)
def weigh(order: Order) -> float:  # a plain function is a step too
    return float(len(order.id))


async def refund(receipt: str) -> None: ...


def note_refund(receipt: str) -> None: ...


def refund_by_number(receipt: int) -> None: ...


async def refund_nothing() -> None: ...


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


async def charge_small(ctx: Context, order: Order) -> str:
    return await ctx.step("small", charge, order)


@app.workflow("parent")
async def parent(ctx: Context, order: Order) -> str:
    charged = ctx.step("charge", charge, order)
    assert_type(await charged.options(compensate=refund), str)
    assert_type(await ctx.step("weigh", charge, order).options(compensate=note_refund, timeout=1), str)
    assert_type(await ctx.map("fan", lambda one: charge_small(ctx, one), [order]), tuple[str, ...])
    assert_type(await ctx.race("first", a=ctx.sleep(1), b=ctx.sleep(2)), tuple[str, None])
    small = Case("small", order, lambda: charge_small(ctx, order))
    large = Case[Order, str]("large", lambda one: one.id == "7", lambda one: charge_small(ctx, one))
    assert_type(await ctx.switch("size", order, [small, large], default=lambda: charge_small(ctx, order)), str)
    child = await ctx.start_child("ship", ship, order)
    assert_type(child, Child[bool])
    assert_type(await child.result(), bool)
    assert_type(await child.result(timeout=1), bool | TimedOut)
    assert_type(await ctx.run_child("tick", tick), None)
    assert_type(await ctx.wait_for_execution(ship, "7"), bool)
    await ctx.emit(shipped, Approval("me"))
    match await ctx.wait_for_signal(approved, timeout=1):
        case TimedOut():
            return "late"
        case Approval(by=who):
            return who


@app.on(shipped)
async def hear(approval: Approval) -> None: ...


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

    assert_type(await client.start_and_wait(tick), Outcome[None])
    assert_type(await client.describe(ship), Flow)
    assert_type(await client.schedule(ship, Order("1"), delay=5), Handle[bool])
    assert_type(await client.ensure_schedule(ship, Order("1"), id="s", cron="@daily", overlap="skip"), Schedule)
    assert_type(await client.ensure_schedule(tick, id="t", interval=5, catch_up=CatchUp(then="all")), Schedule)
    assert_type(await client.update_schedule("s", input=Order("2"), jitter=5), Schedule)


def produce_in_a_thread(client: SyncClient) -> None:
    assert_type(client.start(ship, Order("1")), SyncHandle[bool])
    assert_type(client.start_and_wait(tick), Outcome[None])
    assert_type(client.describe(ship, Order("1")), Flow)
    assert_type(client.schedule(ship, Order("1"), delay=5), SyncHandle[bool])
    assert_type(client.ensure_schedule(tick, id="t", interval=5), Schedule)


@app.on(parcelled)
async def mail(order: Order) -> None:
    assert_type(order.id, str)


@app.on(parcelled, name="books")
def book(order: Order) -> None: ...


@app.on(events.StepCompleted)
async def count(event: events.StepCompleted) -> None:
    assert_type(event.duration_ms, int)


app.on(events.WorkerEvent)(print)
app.on(parcelled)(charge)


async def embedded() -> None:
    async with app.embedded() as client:
        assert_type(client, Client)


def deaf(order: Approval) -> None: ...


async def refused_by_a_client(client: Client, sync: SyncClient, order: Order) -> None:
    await client.start(ship, "1")  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await client.start(ship)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await client.start(tick, order)  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await client.start_and_wait(ship)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await client.start_and_wait(ship, "1")  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await client.start_many(ship, ["1"])  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    await client.describe(ship, "1")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    await client.signal("7", approved, "me")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    await client.schedule(ship, "1", delay=5)  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await client.ensure_schedule(ship, "1", id="s")  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await client.ensure_schedule(tick, id="s", overlap="never")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    handle = await client.start(ship, order)
    await handle.signal(approved, "me")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    sync.start(ship)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    sync.start(ship, "1")  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    sync.start_and_wait(ship)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    App("wrong", payload_codec=order)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def refused_by_a_context(ctx: Context, order: Order) -> None:
    await ctx.step("charge", charge, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.step("charge", charge)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await ctx.step("charge", charge, order, amont=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ctx.step("weigh", weigh, "1")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.step("charge", charge, order).options(compensate=refund_by_number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ctx.step("charge", charge, order).options(compensate=refund_nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ctx.start_child("ship", ship, "1")  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.start_child("ship", ship)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.run_child("ship", ship, "1")  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.run_child("tick", tick, order)  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.emit(shipped, "me")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    await ctx.map("fan", lambda one: charge_small(ctx, one), ["1"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ctx.map("fan", lambda one: one.id, [order])  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    await ctx.race("first", a=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ctx.gather(1, ctx.sleep(1))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    Case("small", "7", weigh)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Case("small", "7", charge)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    await ctx.switch("size", order, [Case("small", 1, lambda: ctx.sleep(1))])  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    await ctx.sleep("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    approval = await ctx.wait_for_signal(approved, timeout=1)
    app.on(parcelled)(deaf)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.on(events.StepCompleted)(deaf)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    print(approval.by)  # type: ignore[union-attr]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportAttributeAccessIssue]
    match await ctx.wait_for_signal(approved, timeout=1):  # type: ignore[exhaustive-match]  # pyright: ignore[reportMatchNotExhaustive]
        case Approval(by=who):
            print(who)


@app.on(shipped)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def hear_text(approval: str) -> None: ...


@app.workflow()  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType, reportUntypedFunctionDecorator]
async def without_a_context(order: Order) -> None: ...
