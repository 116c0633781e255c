"""Typed values on every path that a payload takes: equal in value and type, or refused at the call with the path."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from runner import App, Client, Context, Event, PayloadError, RetryLater, Signal, current_step
from runner.core.retry import Retry
from tests.integration.test_events import until

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclass(frozen=True)
class Order:
    id: str
    price: Money
    tags: set[str] = field(default_factory=set)


@dataclass
class Page(Generic[T]):
    items: list[T]
    next: Page[T] | None = None


class Struct(msgspec.Struct, frozen=True):
    id: str
    orders: list[Order] = []


@attrs.frozen
class Attrs:
    id: str
    color: Color = Color.RED


class Options(TypedDict):
    color: Color
    until: NotRequired[dt.date]


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Model(pydantic.BaseModel):
    at: dt.datetime
    inner: list[Money] = []


@dataclass
class Card:
    number: str


@dataclass
class Cash:
    coins: tuple[int, ...]


UserId = NewType("UserId", int)
ORDER = Order("7", Money(Decimal("1.50")), {"x"})
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)

TYPES: list[tuple[Any, Any]] = [
    (Order, ORDER),
    (Struct, Struct("s", [ORDER])),
    (Attrs, Attrs("a")),
    (Options, {"color": Color.RED, "until": NOW.date()}),
    (Point, Point(1, 2.0)),
    (Model, Model(at=NOW, inner=[Money(Decimal(2))])),
    (Color, Color.RED),
    (Page[Order], Page([ORDER], Page([]))),
    (Card | Cash, Cash((1, 2))),
    (list[dict[str, Card | Cash | None]], [{"a": Card("1"), "b": None, "c": Cash(())}]),
    (Optional[UserId], UserId(2**63 - 1)),  # noqa: UP045 - as many still write it
    (Literal["a", 3], 3),
    (Annotated[tuple[Money, ...], "for people"], (Money(Decimal(0)),)),
    (Any, [[], [[], {}], 2**80, 1.0, NOW, NOW.date(), b"\xc1", "\N{SNOWMAN}", {1: None}, (), frozenset({1})]),
]


def everywhere(app: App, hint: Any, seen: list[Any]) -> Any:
    """A workflow whose values of this type go through everything, and are seen wherever they come out."""
    go, told = Signal[hint]("go"), Event[hint]("told")

    def kept(value: Any) -> Any:
        seen.append(value)
        return value

    kept.__annotations__ = {"value": hint, "return": hint}

    def beating() -> None:
        step = current_step()
        if step.attempt == 1:
            step.heartbeat({"value": 1})
            raise RetryLater(0)
        seen.append(step.details)

    async def kid(ctx: Context, value: Any) -> Any:
        return kept(value)

    kid.__annotations__ = {"value": hint, "return": hint}
    child = app.workflow("kid")(kid)

    async def whole(ctx: Context, value: Any) -> Any:
        if ctx.run == 1:
            seen.clear()
            await ctx.continue_as_new(kept(value))
        result = await ctx.step("kept", kept, value)
        signalled = await ctx.wait_for_signal(go)
        grown = await ctx.run_child("kid", child, kept(signalled))
        await ctx.emit(told, kept(grown))
        await ctx.step("beating", beating).options(retry=Retry(max_attempts=2))
        return result

    whole.__annotations__ = {"value": hint, "return": hint}
    app.on(told, name="listener")(kept)
    return app.workflow("whole")(whole)


@pytest.mark.parametrize(("hint", "value"), TYPES, ids=[str(hint)[-30:] for hint, _ in TYPES])
async def test_a_typed_value_is_the_same_wherever_it_comes_out(namespace: str, hint: Any, value: Any) -> None:
    app, seen = App(namespace), list[Any]()
    whole = everywhere(app, hint, seen)
    async with app.embedded() as client:
        handle = await client.start(whole, value)
        await handle.signal(Signal[hint]("go"), value)
        same(await handle.result(timeout=30), value)
        assert {"value": 1} in seen
        seen.remove({"value": 1})
        await until(lambda: len(seen) >= 6, "the event was heard")
    for one in seen:
        same(one, value)


def same(one: Any, other: Any) -> None:
    assert one == other
    assert type(one) is type(other)
    assert repr(one) == repr(other)


# -- rolling deploys ---------------------------------------------------------------------------------------


async def test_both_releases_read_what_the_other_wrote(namespace: str) -> None:
    """A field is added, with a default: the old code passes over it, the new one fills it in."""

    @dataclass
    class Before:
        id: str

    @dataclass
    class After:
        id: str
        note: str = "none"

    def release(cls: Any) -> App:
        app = App(namespace)

        async def echo(ctx: Context, order: Any) -> Any:
            return await ctx.wait_for_signal(Signal[cls]("go"))

        echo.__annotations__ = {"order": cls, "return": cls}
        app.workflow("echo")(echo)
        return app

    for mine, theirs in ((Before, After), (After, Before)):
        async with release(mine).embedded() as client, Client(release(theirs), client.store, client.broker) as other:
            handle = await other.start("echo", {"id": "7", "note": "n"} if theirs is After else {"id": "7"})
            await other.signal(handle.id, Signal[theirs]("go"), theirs("8"))
            assert await client.wait(handle.id, timeout=30) == mine("8")
            assert await handle.result(timeout=30) == theirs("8")


# -- refused, transformed ---------------------------------------------------------------------------------


class Approval(pydantic.BaseModel):
    by: str
    parts: list[int] = []

    @pydantic.field_validator("by")
    @classmethod
    def _plain(cls, by: str) -> str:
        return by.strip().lower()

    @pydantic.field_validator("parts", mode="before")
    @classmethod
    def _split(cls, parts: Any) -> Any:
        return parts.split(",") if isinstance(parts, str) else parts


approved = Signal[Approval]("approved")


def approving(app: App) -> Any:
    @app.workflow("approving", signals=[approved])
    async def approving(ctx: Context, order: Order) -> Approval:
        return await ctx.wait_for_signal(approved)

    return approving


async def test_what_a_schema_makes_of_a_payload_is_what_is_delivered(namespace: str) -> None:
    app = App(namespace)
    workflow = approving(app)
    async with app.embedded() as client:
        handle = await client.start(workflow, ORDER)
        await client.signal(handle.id, "approved", {"by": " Ann ", "parts": "1,2"})
        assert await handle.result(timeout=30) == Approval(by="ann", parts=[1, 2])


async def test_what_does_not_fit_is_refused_at_the_call_by_its_path_and_nothing_is_stored(namespace: str) -> None:
    app = App(namespace)
    workflow = approving(app)
    async with app.embedded() as client:
        with pytest.raises(PayloadError, match=r"^input of workflow 'approving'\.price\.amount: .*Decimal is needed"):
            await client.start("approving", {"id": "7", "price": {"amount": "many"}}, id="x")
        assert await client.store.record("x") is None
        with pytest.raises(PayloadError, match=r"input of workflow 'approving'.*Order goes in|Order is needed"):
            await client.start(workflow, "order")
        handle = await client.start(workflow, ORDER)
        with pytest.raises(PayloadError) as refused:
            await client.signal(handle.id, "approved", {"by": "ann", "parts": ["x"]})
        assert refused.value.path == "payload of signal 'approved'.parts[0]"
        assert (await client.history(handle.id)).inbox == ()
