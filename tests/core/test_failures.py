"""Failures: bounded, readable whatever the error is, and raised again as themselves when registered."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from decimal import Decimal

import attrs
import msgpack
import pytest

from runner.codec import encode
from runner.errors import PayloadError, StepFailed, qualified_name
from runner.failures import MAX_MESSAGE, MAX_TRACEBACK, Failure, rebuild, sound


@dataclass(frozen=True)
class Order:
    id: str
    price: Decimal


ORDER = Order("7", Decimal("1.50"))


class Plain(Exception):
    pass


class Positional(Exception):
    def __init__(self, order: Order, code: int) -> None:
        self.order = order
        self.code = code


class Worded(Exception):
    def __init__(self, order: Order, *, code: str) -> None:
        super().__init__(f"order {order.id}: {code}")
        self.order = order
        self.code = code


class Annotated(Exception):
    order: Order
    seen: set[Order] | None = None


class Slotted(Exception):
    __slots__ = ("__private", "code", "order", "unset")
    order: Order

    def __init__(self, order: Order) -> None:
        self.order = order
        self.code = (1, 2)
        self.__private = 3

    def private(self):
        return self.__private


class Derived(Slotted):
    pass


class Guarded(Exception):
    """Its __init__ must not run again, nor its __new__."""

    calls = 0

    def __new__(cls, *args, **kwargs):
        if not kwargs:
            raise AssertionError("__new__ was called without what it needs")
        return super().__new__(cls, *args)

    def __init__(self, *, why: str) -> None:
        type(self).calls += 1
        super().__init__("guarded", why)
        self.why = why


@dataclass
class AsDataclass(Exception):
    order: Order
    count: int = 1


@attrs.define(slots=False)
class AsAttrs(Exception):
    order: Order


class NotFound(KeyError):
    pass


class System(OSError):
    def __init__(self, code: int) -> None:
        super().__init__(code, "went wrong")


class Text(UnicodeDecodeError):
    pass


def annotated():
    error = Annotated("x")
    error.order = ORDER
    error.seen = None
    error.add_note("a note")
    return error


ERRORS = [
    Plain(),
    Plain("x", 1, (2, [3]), {"a": b"b"}),
    Positional(ORDER, 3),
    Worded(ORDER, code="declined"),
    annotated(),
    Slotted(ORDER),
    Derived(ORDER),
    Guarded(why="x"),
    AsDataclass(ORDER, 2),
    AsDataclass(order=ORDER),
    AsAttrs(ORDER),
    NotFound("key"),
    System(2),
    Text("utf-8", b"\xff", 0, 1, "bad"),
    ValueError("a builtin one"),
]
KNOWN = {qualified_name(type(error)): type(error) for error in ERRORS}


def stored(error, known=KNOWN, **kwargs):
    return Failure.unpack(Failure.of(error, known=known, **kwargs).pack())


def state(error):
    slots = {
        name: getattr(error, name, "unset")
        for name in ("order", "code", "unset", "_Slotted__private", "errno", "start")
    }
    return type(error), error.args, vars(error), slots, str(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_registered_error_comes_back_as_itself(error):
    failure = stored(error)
    assert failure.payload is not None
    again = rebuild(failure, KNOWN)
    assert again is not error
    assert state(again) == state(error)
    assert state(rebuild(stored(again), KNOWN)) == state(error)
    assert stored(again).payload == failure.payload


def test_nothing_of_the_class_is_called():
    error = Guarded(why="x")
    calls = Guarded.calls
    assert rebuild(stored(error), KNOWN).why == "x"
    assert Guarded.calls == calls


@pytest.mark.parametrize(
    "error",
    [
        Plain(object()),
        Plain(ORDER),  # nothing says that it is an Order
        Plain("x" * 100_000),
        ExceptionGroup("several", [ValueError()]),
    ],
    ids=["no plain value", "no hint", "too large", "a group"],
)
def test_an_error_that_would_come_back_changed_is_told_not_rebuilt(error):
    known = {qualified_name(type(error)): type(error)}
    failure = stored(error, known)
    assert failure.payload is None
    assert rebuild(failure, known) is None
    assert failure.type == qualified_name(type(error))


def test_a_field_of_a_type_that_no_annotation_names_is_told_not_rebuilt():
    error = Plain("x")
    error.order = ORDER
    assert stored(error).payload is None


def test_only_registered_classes_come_back():
    failure = stored(Plain("x"))
    assert rebuild(failure, {}) is None
    assert stored(Plain("x"), {}).payload is None
    assert stored(type("Plain", (Plain,), {})("x")).payload is None
    for forged in ("os.system", "builtins.SystemExit", "__class__", "../x", "subprocess.Popen"):
        row = msgpack.unpackb(failure.pack(), strict_map_key=False)
        row[0] = forged
        assert rebuild(Failure.unpack(msgpack.packb(row)), KNOWN) is None


def test_a_class_that_changed_since_is_told_not_rebuilt():
    class Changed(UnicodeDecodeError):
        pass

    failure = stored(Plain("x"))
    assert rebuild(failure, {failure.type: Changed}) is None


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", encode(1), encode({}), encode({"typed": True, "args": 1, "fields": {}, "slots": {}})]
)
def test_a_forged_payload_is_told_not_rebuilt(payload):
    row = list(msgpack.unpackb(stored(Plain("x")).pack()))
    row[6] = payload
    assert rebuild(Failure.unpack(msgpack.packb(row)), KNOWN) is None


def test_the_record_says_what_happened():
    try:
        raise NotFound("key") from ValueError("cause")
    except NotFound as error:
        failure = stored(error, {}, step="charge", attempts=3)
    name = qualified_name(NotFound)
    assert failure.type == name
    assert failure.bases == (name, "KeyError", "LookupError", "Exception", "BaseException")
    assert failure.message == "'key'"
    assert (failure.step, failure.attempts) == ("charge", 3)
    assert "ValueError: cause" in failure.traceback
    assert "test_the_record_says_what_happened" in failure.traceback
    raised = StepFailed(step="charge", type=failure.type, message="", attempts=3, bases=failure.bases)
    assert raised.matches(KeyError)
    assert raised.matches(NotFound)
    assert not raised.matches(ValueError)


def test_texts_are_bounded_in_bytes():
    def fall(depth):
        if depth:
            fall(depth - 1)
        raise Plain("ä€😀" * 100_000)

    with pytest.raises(Plain) as raised:
        fall(50)
    failure = stored(raised.value, {})
    assert MAX_MESSAGE - 4 < len(failure.message.encode()) <= MAX_MESSAGE
    assert MAX_TRACEBACK - 4 < len(failure.traceback.encode()) <= MAX_TRACEBACK
    assert failure.traceback.rstrip().endswith("😀")


def test_no_local_variable_is_told():
    def leak(password):
        assert password
        raise Plain

    with pytest.raises(Plain) as raised:
        leak("s3cr3t" + "!")
    assert "s3cr3t!" not in stored(raised.value, {}).traceback
    assert "leak" in stored(raised.value, {}).traceback


class Broken(Exception):
    def __str__(self):
        raise RuntimeError("no")


class Classless(Exception):
    @property
    def __class__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Classless("x"), "x"),
        (Broken(), "(its message could not be made)"),
        (Plain("\ud800"), "\\ud800"),
        (Plain(b"\xff"), "b'\\xff'"),
        (KeyboardInterrupt(), ""),
        (type("N\u00e4me", (Exception,), {})("x"), "x"),
    ],
    ids=["broken class", "broken str", "surrogate", "bytes", "base exception", "odd name"],
)
def test_any_error_has_a_record(error, message):
    assert stored(error).message == message


def test_an_error_that_cannot_be_asked_for_its_class_is_told_by_one_that_can():
    told = sound(Classless("x"))
    assert isinstance(told, RuntimeError) and str(told).endswith(".Classless, whose __class__ raises: x")
    plain = Plain("x")
    assert sound(plain) is plain


def test_any_traceback_has_a_record(monkeypatch):
    def broken(*_, **__):
        raise RecursionError

    monkeypatch.setattr(traceback, "format_exception", broken)
    assert stored(Plain("x")).traceback == "(its traceback could not be made)"


def test_a_record_of_a_later_version_is_read():
    row = [*msgpack.unpackb(stored(Plain("x")).pack()), "added later"]
    assert Failure.unpack(msgpack.packb(row)) == stored(Plain("x"))


@pytest.mark.parametrize("blob", [b"", b"\xc1", encode(1), encode(["a"]), encode([1] * 7)])
def test_a_broken_record_is_a_payload_error(blob):
    with pytest.raises(PayloadError, match=r"^failure"):
        Failure.unpack(blob)
