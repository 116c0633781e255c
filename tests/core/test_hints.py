"""What is found out about callables of every kind, and what is let be."""

from __future__ import annotations

import functools
import gc
import typing
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from runner.codec import Hints, decode, encode, resolve_hints

if TYPE_CHECKING:
    from somewhere import Absent


@dataclass
class Order:
    id: str


async def plain(order: Order, count: int = 1, *, note: str | None = None) -> list[Order]: ...


def sync(order: Order) -> Order: ...


def untyped(order, count=1): ...


def later(order: Order) -> Awaitable[Order]: ...


def coroutine(order: Order) -> Coroutine[Any, Any, list[Order]]: ...


def variadic(*orders: Order, **named: int) -> None: ...


def partly(order: Order, absent: Absent, more: dict[str, Absent]) -> Absent: ...


def quoted(order: "Order") -> "list[Order]": ...  # noqa: UP037


def decorated(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs): ...

    return wrapper


class Charge:
    async def __call__(self, order: Order) -> Order: ...

    def method(self, order: Order) -> Order: ...

    @classmethod
    def class_method(cls, order: Order) -> Order: ...

    @staticmethod
    def static(order: Order) -> Order: ...


class Unhashable(Charge):
    __hash__ = None


class Slotted:
    __slots__ = ()

    def __call__(self, order: Order) -> Order: ...


ONE = Hints({"order": Order}, Order)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (plain, Hints({"order": Order, "count": int, "note": str | None}, list[Order])),
        (sync, ONE),
        (untyped, Hints({"order": Any, "count": Any}, Any)),
        (later, ONE),
        (coroutine, Hints({"order": Order}, list[Order])),
        (variadic, Hints({"orders": Order, "named": int}, type(None))),
        (partly, Hints({"order": Order, "absent": Any, "more": Any}, Any)),
        (quoted, Hints({"order": Order}, list[Order])),
        (decorated(sync), ONE),
        (decorated(decorated(plain)), resolve_hints(plain)),
        (functools.partial(plain, Order("1")), Hints({"count": int, "note": str | None}, list[Order])),
        (functools.partial(functools.partial(plain, Order("1")), 3), Hints({"note": str | None}, list[Order])),
        (functools.partial(Charge()), ONE),
        (functools.partial(decorated(sync)), ONE),
        (Charge(), ONE),
        (Unhashable(), ONE),
        (Slotted(), ONE),
        (Charge().method, ONE),
        (Charge.class_method, ONE),
        (Charge.static, ONE),
        (Order, Hints({"id": str}, Order)),
        (lambda order: order, Hints({"order": Any}, Any)),
        (len, Hints({"obj": Any}, Any)),
        (dict.get, Hints({"self": Any, "key": Any, "default": Any}, Any)),
    ],
    ids=lambda it: "" if isinstance(it, Hints) else getattr(it, "__name__", type(it).__name__),
)
def test_the_hints_of_a_callable(fn, expected):
    for _ in range(2):
        hints = resolve_hints(fn)
        assert hints == expected
        assert list(hints.params) == list(expected.params)


def test_a_class_from_the_closure_is_found():
    @dataclass
    class Local:
        id: str

    async def step(local: Local) -> list[Local]:
        return [Local(local.id)]

    hints = resolve_hints(step)
    assert hints == Hints({"local": Local}, list[Local])
    assert decode(encode([Local("7")]), hints.returns) == [Local("7")]


def test_a_class_that_is_out_of_sight_is_any():
    class Local: ...

    def step(local: Local, order: Order) -> Local: ...

    assert resolve_hints(step) == Hints({"local": Any, "order": Order}, Any)


def test_a_name_of_the_closure_that_is_not_assigned_yet_is_any():
    def step(order: Order) -> Unborn:
        return Unborn()

    assert resolve_hints(step) == Hints({"order": Order}, Any)

    class Unborn: ...


def test_an_annotation_that_cannot_be_evaluated_is_any():
    def step(a, b, c): ...

    step.__annotations__ = {"a": "1/0", "b": "Order", "c": "not even python", "return": "Order[int]"}
    assert resolve_hints(step) == Hints({"a": Any, "b": Order, "c": Any}, Any)


def test_the_cache_keeps_nothing_alive():
    def step(order: Order) -> Order: ...

    resolve_hints(step)
    gone = weakref.ref(step)
    del step
    gc.collect()
    assert gone() is None


def test_a_field_named_like_its_class_is_resolved():
    import datetime as dt

    @dataclass
    class Event:
        order: typing.Optional[Order] = None  # noqa: UP045
        Order: Order | None = None

    assert decode(encode({"Order": {"id": "7"}, "order": {"id": "8"}}), Event) == Event(Order("8"), Order("7"))
    assert dt
