"""Plain values: back as they were, in value and type, without a hint; what cannot travel is refused by path."""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import enum
import math
import pathlib
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.codec import MAX_PAYLOAD, decode, digest, encode, roundtrip
from runner.errors import PayloadError, PayloadTooLarge
from tests.core.naming import named

# A busy machine is slow, and that says nothing about the codec.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ZONES = st.one_of(
    st.none(),
    st.timezones(),
    st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(dt.timezone),
    st.builds(dt.timezone, st.just(dt.timedelta(hours=1)), st.text(st.characters(codec="utf-8"), max_size=5)),
)
HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**300), 2**300),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(),
    st.binary(),
    st.datetimes(timezones=ZONES, allow_imaginary=True),
    st.dates(),
    st.times(timezones=ZONES),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
KEYS = st.recursive(HASHABLE, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
VALUES = st.recursive(
    st.one_of(HASHABLE, st.binary().map(bytearray)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(), inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
    ),
    max_leaves=8,
)


def shape(value):
    """Everything that must survive, in a form that ``==`` compares strictly."""
    kind = type(value).__name__
    match value:
        case list() | tuple():
            return kind, [shape(item) for item in value]
        case set() | frozenset():
            return kind, sorted((shape(item) for item in value), key=repr)
        case dict():
            return kind, [(shape(key), shape(item)) for key, item in value.items()]
        case dt.datetime() | dt.time():
            return kind, value.isoformat(), value.fold, repr(value.tzinfo)
    return kind, repr(value)


@CALM
@given(VALUES)
def test_a_plain_value_comes_back_as_it_was(value):
    assert shape(decode(encode(value))) == shape(value)


@CALM
@given(VALUES)
def test_the_bytes_are_the_same_again(value):
    blob, again = roundtrip(value)
    assert encode(again) == blob == encode(value)
    assert digest(again) == digest(value)


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1,
        2**64,
        -(2**63) - 1,
        10**5000,
        float("inf"),
        float("-inf"),
        -0.0,
        5e-324,
        Decimal("-0.00"),
        Decimal("1E+999999"),
        Decimal("sNaN"),
        "\x00\uffff\U0010ffff👩‍👩‍👧",
        [[], (), {}, set(), frozenset(), "", b"", bytearray()],
        {1: {2.5: {None: {True: {b"k": {("a", 1): {frozenset({2}): "deep"}}}}}}},
        {(): [], ((),): ()},
        {0: "int", "0": "str", b"0": "bytes"},
        dt.datetime.min,  # noqa: DTZ901
        dt.datetime.max,  # noqa: DTZ901
        dt.timedelta.min,
        dt.timedelta.max,
        dt.datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        dt.datetime(2026, 10, 25, 2, 30, fold=1),  # noqa: DTZ001
        dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1), "a@b#c~")),
        dt.time(tzinfo=dt.timezone(dt.timedelta(microseconds=1))),
        dt.datetime(2026, 1, 1, tzinfo=dt.timezone(-dt.timedelta(hours=5, seconds=7, microseconds=1))),
        dt.time(1, 2, 3, 4, tzinfo=ZoneInfo("Asia/Kolkata"), fold=1),
        UUID(int=0),
        complex(-0.0, float("inf")),
    ],
    ids=lambda value: named(value, 30) if not isinstance(value, int) else f"{value.bit_length()} bits",
)
def test_corner_cases_come_back_as_they_were(value):
    again = decode(encode(value))
    assert shape(again) == shape(value) if not isinstance(value, int) else (again == value and type(again) is int)


@pytest.mark.parametrize("value", [math.nan, Decimal("NaN"), complex(math.nan, 1), [math.nan], {"a": math.nan}])
def test_nan_comes_back_as_nan(value):
    assert shape(roundtrip(value)[1]) == shape(value)


def test_every_time_zone_of_this_machine_comes_back():
    # "localtime" is a file of some systems, and no name that another machine knows.
    for key in available_timezones() - {"localtime"}:
        moment = dt.datetime(2026, 7, 1, tzinfo=ZoneInfo(key))
        assert decode(encode(moment)).tzinfo is moment.tzinfo


def test_a_dict_keeps_its_order():
    assert list(decode(encode({"b": 1, "a": 2, (1,): 3, "c": 4}))) == ["b", "a", (1,), "c"]


@CALM
@given(
    st.dictionaries(KEYS, HASHABLE, max_size=5).map(lambda one: list(one.items())), st.randoms(use_true_random=False)
)
def test_the_digest_knows_no_order(pairs, random):
    one = dict(pairs)
    items = list(one.items())
    random.shuffle(items)
    assert digest(dict(items)) == digest(one)
    assert digest([{"a": 1, "b": dict(items)}]) == digest([{"b": one, "a": 1}])


def test_the_digest_tells_values_apart():
    values = [1, 1.0, True, "1", b"1", bytearray(b"1"), [1], (1,), {1}, frozenset({1}), {1: 1}, {"1": 1}, None, [], ()]
    values += [{"a": 1, "b": 2}, {"a": 2, "b": 1}, [{"a": 1}, {"b": 2}], [["a", 1], ["b", 2]]]
    assert len({digest(value) for value in values}) == len(values)


def test_the_digest_of_an_object_is_that_of_its_fields():
    @dataclass
    class Order:
        id: str
        amount: int

    assert digest(Order("7", 4200)) == digest({"amount": 4200, "id": "7"})


def test_bytes_and_digest_are_the_same_in_every_process():
    code = (
        "from runner.codec import *; import sys; v = {'t': {str(n) for n in range(50)}, 'f': frozenset('abc')};"
        "print(encode(v).hex(), digest(v))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


class Level(enum.IntEnum):
    LOW = 1


class Name(str):
    __slots__ = ()


class Custom:
    pass


Pair = collections.namedtuple("Pair", "a b")  # noqa: PYI024


async def _coroutine():
    pass


def refused(value, match=None, **kwargs):
    with pytest.raises(PayloadError, match=match) as error:
        encode(value, **kwargs)
    return error.value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Custom(), r"a value of type .*Custom cannot be stored; return a dataclass"),
        (Custom, "a value of type type cannot be stored"),
        (Name("x"), r"a value of type .*Name cannot be stored; it would come back as a plain str: .* str\(\.\.\.\)"),
        (collections.OrderedDict(a=1), r"OrderedDict cannot be stored; .* dict\(\.\.\.\)"),
        (collections.Counter("a"), r"Counter cannot be stored; .* dict\(\.\.\.\)"),
        (collections.deque([1]), r"deque cannot be stored; convert it with list\(\.\.\.\)"),
        (range(3), r"range cannot be stored; convert it with list"),
        ((n for n in ()), r"generator cannot be stored; convert it with list"),
        ({}.keys(), r"dict_keys cannot be stored; convert it with list"),
        (memoryview(b"x"), r"memoryview cannot be stored; convert it with bytes"),
        (pathlib.PurePosixPath("/a"), r"PurePosixPath cannot be stored; convert it with str"),
        (ValueError("x"), r"ValueError cannot be stored; raise it"),
        (print, "builtin_function_or_method cannot be stored"),
        ("a\ud800", "half of a surrogate pair"),
        ({"\udfff": 1}, "half of a surrogate pair"),
        (
            dt.datetime(2026, 1, 1, tzinfo=type("Tz", (dt.tzinfo,), {"utcoffset": lambda *_: dt.timedelta(0)})()),
            "use zoneinfo",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_travel_is_refused_with_a_cure(value, says):
    refused(value, says)
    refused([value], says)


def test_a_zone_without_a_name_is_refused():
    with resources.files("tzdata").joinpath("zoneinfo/Europe/Berlin").open("rb") as file:
        nameless = ZoneInfo.from_file(file)
    refused(dt.datetime(2026, 1, 1, tzinfo=nameless), "use zoneinfo")


def test_a_coroutine_is_to_be_awaited():
    coroutine = _coroutine()
    refused(coroutine, "await it first")
    asyncio.run(coroutine)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Custom(), "input"),
        ({"items": [1, 2, 3, {"price": Custom()}]}, "input.items[3].price"),
        ((1, [Custom()]), "input[1][0]"),
        ({"a key": Custom()}, "input['a key']"),
        ({7: Custom()}, "input[7]"),
        ({(1, 2): Custom()}, "input[<tuple>]"),
        ({"x" * 1000: Custom()}, "input[<str>]"),
        ({(1, Custom()): 1}, "input<key>[1]"),
        ({"tags": {Custom()}}, "input.tags<member>"),
        ({"a": [1, ["\ud800"]]}, "input.a[1][0]"),
    ],
)
def test_the_path_leads_to_the_culprit(value, path):
    error = refused(value, "^input", what="input")
    assert error.path == path
    assert str(error).startswith(f"{path}: ")


def test_no_message_shows_a_value():
    secret = "s3cr3t" * 20
    for value in ([secret, Custom()], {secret: Custom()}, {"a": Name(secret)}):
        assert "s3cr3t" not in str(refused(value))


def test_an_object_cannot_be_a_key_for_it_is_stored_as_a_dict():
    @dataclass(frozen=True)
    class Point:
        x: int

    refused({Point(1)}, "an object with fields cannot be a key or a member of a set")
    refused({Point(1): 1}, "an object with fields cannot be a key")
    refused({(1, Point(1)): 1}, "an object with fields cannot be a key")


def test_two_keys_that_would_become_one_are_refused():
    class Color(enum.Enum):
        RED = "red"

    refused({Color.RED: 1, "red": 2}, "holds a key twice")
    refused({Color.RED, "red"}, "holds a member twice")
    refused({(Color.RED,): 1, ("red",): 2}, "holds a key twice")


def test_the_limit_is_on_the_bytes():
    blob = encode("x" * (MAX_PAYLOAD - 5))
    assert len(blob) == MAX_PAYLOAD
    assert len(decode(blob)) == MAX_PAYLOAD - 5
    with pytest.raises(PayloadTooLarge, match=r"^result of step 'a': 1,048,577 bytes, over the limit of 1,048,576; "):
        encode("x" * (MAX_PAYLOAD - 4), what="result of step 'a'")
    with pytest.raises(PayloadTooLarge, match="101 bytes, over the limit of 100"):
        encode(b"x" * 99, limit=100)
    with pytest.raises(PayloadTooLarge):
        roundtrip(b"x" * 99, limit=100)
    with pytest.raises(PayloadTooLarge):
        decode(blob + b"x")


def test_what_decode_gives_belongs_to_the_caller():
    blob = encode({"a": [1]})
    decode(blob)["a"].append(2)
    assert decode(blob) == {"a": [1]}
