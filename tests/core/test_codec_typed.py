"""Values that need a hint to come back: every kind of class with fields, enums, unions, generics."""

from __future__ import annotations

import datetime as dt
import enum
import time
import typing
from collections import OrderedDict, abc, namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.codec import decode, encode, roundtrip
from runner.errors import PayloadError
from tests.core.naming import named
from tests.core.test_codec import CALM

T = TypeVar("T")
U = TypeVar("U")


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, 2)
    LISTED = [1]  # noqa: RUF012


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Money:
    amount: Decimal
    currency: str = "EUR"


class Boxed(enum.Enum):
    CHEAP = Money(Decimal(1))


@dataclass(frozen=True)
class Order:
    id: str
    price: Money
    lines: tuple[Line, ...] = ()
    tags: set[str] = field(default_factory=set)
    level: Level | None = None
    date: dt.date | None = None


@dataclass
class Line:
    sku: str
    count: int = 1


@dataclass(kw_only=True)
class Based(Line):
    extra: int
    derived: int = field(init=False, default=0)


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Page(Generic[T]):
    items: list[T]
    next: Page[T] | None = None


@dataclass
class Labelled(Page[dict[str, U]], Generic[U]):
    label: U | None = None


@dataclass
class Colors(Page[Color]):
    pass


class Struct(msgspec.Struct, frozen=True):
    id: str
    price: Money
    colors: list[Color] = []


class Cat(msgspec.Struct, tag="cat"):
    name: str


class Dog(msgspec.Struct, tag="dog"):
    name: str


class Renamed(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    first_name: str
    last_name: str = "x"
    age: int


class Packed(msgspec.Struct, array_like=True):
    a: int
    b: int = 2


@attrs.frozen
class Attrs:
    id: str
    _hidden: Color
    made: int = attrs.field(init=False, default=3)
    lines: list[Line] = attrs.field(factory=list)


class Options(TypedDict):
    level: Level
    lines: NotRequired[list[Line]]


class Loose(TypedDict, total=False):
    level: Level


class Point(NamedTuple):
    x: int
    color: Color = Color.RED


Untyped = namedtuple("Untyped", "a b")  # noqa: PYI024


class Model(pydantic.BaseModel):
    id: UUID
    at: dt.datetime
    color: Color
    price: Money
    inner: list[Inner] = []
    shown: str = pydantic.Field(default="x", alias="displayName")

    @pydantic.computed_field
    @property
    def double(self) -> str:
        return self.shown * 2


class Inner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    values: tuple[int, ...]


class Root(pydantic.RootModel[list[int]]):
    pass


@pydantic.dataclasses.dataclass
class Checked:
    count: int
    color: Color


@dataclass
class Approved:
    by: str


@dataclass
class Rejected:
    by: str
    reason: str


@dataclass
class Kind1:
    kind: Literal["one"] = "one"


@dataclass
class Kind2:
    kind: Literal["two"] = "two"


UserId = NewType("UserId", str)
Alias = dict[str, Union[int, list["Alias"]]]  # noqa: UP007
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
MONEY = Money(Decimal("1.50"))
LINE = Line("a", 2)

TYPED = [
    (Money, MONEY),
    (Order, Order("7", MONEY, (LINE, LINE), {"a", "b"}, Level.LOW, dt.date(2026, 1, 2))),
    (Order, Order("7", MONEY)),
    (Based, Based(sku="a", extra=1)),
    (Tree, Tree(1, [Tree(2), Tree(3, [Tree(4)])])),
    (Page[Order], Page([Order("7", MONEY)], Page([]))),
    (Page[int], Page([1])),
    (Page, Page([1, "a"])),
    (Labelled[Color], Labelled([{"a": Color.RED}], label=Color.PAIR)),
    (Colors, Colors([Color.RED], Page([Color.PAIR]))),
    (Struct, Struct("7", MONEY, [Color.RED])),
    (Cat, Cat("tom")),
    (Cat | Dog, Dog("rex")),
    (Renamed, Renamed(first_name="a", age=3)),
    (Packed, Packed(1, 3)),
    (list[Packed], [Packed(1)]),
    (Attrs, Attrs("7", Color.RED, [LINE])),
    (Options, {"level": Level.LOW, "lines": [LINE]}),
    (Options, {"level": Level.LOW}),
    (Loose, {}),
    (Loose, {"level": Level.LOW, "unknown": [1]}),
    (Point, Point(1)),
    (Untyped, Untyped(1, (2,))),
    (dict[Point, Point], {Point(1): Point(2, Color.PAIR)}),
    (
        Model,
        Model(
            id=UUID(int=1), at=NOW, color=Color.RED, price=MONEY, inner=[Inner(values=(1, 2), more=3)], displayName="y"
        ),
    ),
    (list[Model | None], [None, Model(id=UUID(int=1), at=NOW, color=Color.RED, price=MONEY)]),
    (Root, Root([1, 2])),
    (Checked, Checked(1, Color.RED)),
    *[(type(member), member) for member in (*Color, *Level, *Word, *Boxed, Right.READ | Right.WRITE)],
    (list[Color], [Color.RED, Color.LISTED]),
    (set[Color], {Color.RED, Color.PAIR}),
    (frozenset[Word], frozenset({Word.YES})),
    (dict[Color, list[Line]], {Color.RED: [LINE]}),
    (dict[tuple[Color, int], Line], {(Color.RED, 1): LINE}),
    (tuple[Line, Color, int], (LINE, Color.RED, 3)),
    (tuple[Line, ...], (LINE, LINE)),
    (tuple[()], ()),
    (tuple, (1, "a")),
    (abc.Sequence[Line], [LINE]),
    (abc.Sequence[Line], (LINE,)),
    (abc.Sequence[str], "text"),
    (abc.Iterable[Line], (LINE,)),
    (abc.Set[Color], frozenset({Color.RED})),
    (abc.Mapping[str, Line], {"a": LINE}),
    (abc.Mapping, {"a": 1}),
    (typing.List[Line], [LINE]),  # noqa: UP006
    (typing.Dict[str, Line], {"a": LINE}),  # noqa: UP006
    (Optional[Line], None),  # noqa: UP045
    (Optional[Line], LINE),  # noqa: UP045
    (Line | int | None, 3),
    (Approved | Rejected, Approved("ann")),
    (Approved | Rejected, Rejected("ann", "no")),
    (list[Approved | Rejected], [Rejected("ann", "no"), Approved("ann")]),
    (list[Approved] | list[Rejected], [Rejected("ann", "no")]),
    (Kind1 | Kind2, Kind2()),
    (Color | int, Color.RED),
    (Color | int, 3),
    (str | dt.date, "2026-01-01"),
    (dt.date | str, "2026-01-01"),
    (dt.date | str, dt.date(2026, 1, 1)),
    (int | str | list[Line], [LINE]),
    (dict[str, Line] | Line, {"a": LINE}),
    (Literal["a", 1, Color.RED], Color.RED),  # type: ignore[valid-type]
    (Literal[1], 1),
    (UserId, UserId("u")),
    (Annotated[Line, "hashable"], LINE),
    (Alias, {"a": [{"b": 1}]}),
    (float, 1),
    (float, 1.5),
    (float, True),
    (list[float], [1, 2.5]),
    (int, True),
    (complex, 1),
    (dt.date, NOW),
    (Any, {"a": [NOW]}),
    (object, (1,)),
    (T, (1,)),
    (None, None),
    (Decimal, Decimal("1.0")),
    (bytes, b"a"),
    (bytearray, bytearray(b"a")),
    (dt.timedelta, dt.timedelta(1)),
    (UUID, UUID(int=7)),
    (abc.Hashable, "x"),
    (typing.SupportsInt, 3),
]


def strict(one, other):
    """Equal, and of equal types on every level."""
    assert type(one) is type(other)
    assert one == other
    if isinstance(one, list | tuple):
        for a, b in zip(one, other, strict=True):
            strict(a, b)
    elif isinstance(one, dict):
        strict(list(one.items()), list(other.items()))
    elif isinstance(one, set | frozenset):
        assert sorted(map(repr, one)) == sorted(map(repr, other))
    else:
        assert repr(one) == repr(other)


@pytest.mark.parametrize(("hint", "value"), TYPED, ids=lambda it: named(it, 40))
def test_a_typed_value_comes_back_as_it_was(hint, value):
    blob, again = roundtrip(value, hint)
    strict(again, value)
    strict(decode(blob, hint), value)
    assert encode(value) == blob
    for wrapped, around in ((hint if hint is None else hint | None, value), (list[hint], [value])):
        strict(roundtrip(around, wrapped)[1], around)


@dataclass
class Everything:
    a: int
    b: list[Color] | None
    c: dict[int, tuple[Line, ...]]
    d: float | str
    e: Approved | Rejected | None


EVERYTHING = st.builds(
    Everything,
    st.integers(),
    st.none() | st.lists(st.sampled_from(Color), max_size=3),
    st.dictionaries(
        st.integers(), st.lists(st.builds(Line, st.text(), st.integers()), max_size=3).map(tuple), max_size=3
    ),
    st.floats(allow_nan=False) | st.text(),
    st.none() | st.builds(Approved, st.text()) | st.builds(Rejected, st.text(), st.text()),
)


@CALM
@given(st.lists(EVERYTHING, max_size=3))
def test_any_typed_value_comes_back_as_it_was(value):
    strict(roundtrip(value, list[Everything])[1], value)


def test_init_false_fields_come_back_as_they_were():
    value = Based(sku="a", extra=1)
    value.derived = 7
    assert roundtrip(value, Based)[1].derived == 7


def test_without_a_hint_fields_are_a_dict_and_members_their_values():
    assert decode(encode([MONEY, Color.RED, Point(1), Struct("7", MONEY), Cat("tom"), Attrs("7", Color.RED)])) == [
        {"amount": Decimal("1.50"), "currency": "EUR"},
        "red",
        (1, "red"),
        {"id": "7", "price": {"amount": Decimal("1.50"), "currency": "EUR"}, "colors": []},
        {"type": "cat", "name": "tom"},
        {"id": "7", "_hidden": "red", "made": 3, "lines": []},
    ]


# -- refused: what would not come back -------------------------------------------------------------


class Trimmed(pydantic.BaseModel):
    name: Annotated[str, pydantic.StringConstraints(strip_whitespace=True)]


@dataclass
class Counting:
    n: int

    def __post_init__(self):
        self.n += 1


@dataclass
class Same1:
    a: int


@dataclass
class Same2:
    a: int


class Derived(Line):
    pass


def local():
    @dataclass
    class Hidden:
        a: int

    @dataclass
    class Outer:
        hidden: Hidden

    return Outer(Hidden(1)), Outer


@pytest.mark.parametrize(
    ("value", "hint", "path", "says"),
    [
        (Color.RED, Any, "it", "Color goes in and str comes out; annotate it with .*Color"),
        (Level.LOW, int, "it", "Level goes in and int comes out; annotate it with .*Level"),
        ([Word.YES], list[str], "it[0]", "Word goes in and str comes out"),
        ({"a": {Level.LOW: 1}}, Any, "it.a<key>", "Level goes in and int comes out"),
        ({Level.LOW}, Any, "it<member>", "Level goes in and int comes out"),
        ((1, Point(1)), tuple[int, tuple[int, str]], "it[1]", "Point goes in and tuple comes out"),
        (Untyped(1, 2), Any, "it", "Untyped goes in and tuple comes out; annotate it with .*Untyped"),
        (LINE, Any, "it", "Line goes in and dict comes out; annotate it with .*Line"),
        (Derived("a"), Line, "it", "Derived goes in and .*Line comes out"),
        (Page([LINE]), Page, "it.items[0]", "Line goes in and dict comes out"),
        (Page([LINE]), Page[Any], "it.items[0]", "Line goes in and dict comes out"),
        (Order("7", MONEY, [LINE]), Order, "it.lines", "list goes in and tuple comes out"),
        (Order("7", MONEY, date=NOW.isoformat()), Order, "it.date", "datetime.date is needed, got str"),
        (Order("7", MONEY, date="2026-01-02"), Order, "it.date", "str goes in and datetime.date comes out"),
        (1, Decimal, "it", "int goes in and decimal.Decimal comes out"),
        (Trimmed.model_construct(name=" a "), Trimmed, "it.name", "comes back changed"),
        ([Counting(1)], list[Counting], "it[0].n", "comes back changed"),
        (Same2(1), Same1 | Same2, "it", "Same2 goes in and .*Same1 comes out"),
        (local()[0], local()[1], "it", r"Outer goes in and .*Outer comes out"),
        ("x", int, "it", "int is needed, got str"),
        ([1, "x"], list[int], "it[1]", "int is needed, got str"),
        (None, Line, "it", "Line is needed, got NoneType"),
        ({"a": OrderedDict()}, Any, "it.a", "OrderedDict cannot be stored"),
        (Page([lambda: 1]), Page, "it.items[0]", "function cannot be stored"),
        (
            {LINE.sku: {Point(1): 1}},
            dict[str, dict[tuple[int, str], int]],
            "it.a<key>",
            "Point goes in and tuple comes out",
        ),
    ],
    ids=lambda it: named(it, 30),
)
def test_what_would_come_back_as_something_else_is_refused(value, hint, path, says):
    with pytest.raises(PayloadError, match=says) as error:
        roundtrip(value, hint, what="it")
    assert error.value.path == path
    assert str(error.value).startswith(f"{path}: ")


def test_a_field_whose_class_cannot_be_resolved_is_refused_by_its_path():
    value, hint = local()
    with pytest.raises(PayloadError, match=r"^it\.hidden: .*Hidden goes in and dict comes out"):
        roundtrip(value, hint, what="it")


# -- wrong data ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "hint", "path", "says"),
    [
        ({"id": "7"}, Order, "input.price", "is missing, and has no default"),
        ({"id": "7", "price": {"amount": "x"}}, Order, "input.price.amount", "decimal.Decimal is needed, got str"),
        ({"id": 7, "price": {"amount": 1}}, Order, "input.id", "str is needed, got int"),
        ({"id": "7", "price": {"amount": 1}, "lines": [{"sku": "a"}, {}]}, Order, "input.lines[1].sku", "is missing"),
        ([1], Order, "input", "Order is needed, got list"),
        ({"firstName": "a", "age": 1, "b": 2}, Renamed, "input.b", "Renamed has no such field"),
        ({"type": "cat", "name": "x"}, Dog, "input.type", "'dog' is needed"),
        ({"id": "7"}, Attrs, "input._hidden", "is missing"),
        ({"name": "x", "type": "cat"}, Struct, "input.id", "is missing"),
        ({"lines": []}, Options, "input.level", "is missing"),
        ({"level": 2}, Options, "input.level", "no member of .*Level has this value"),
        ((), Point, "input", "at least 1 items are needed, got 0"),
        ((1, 2), Point, "input[1]", "no member of .*Color"),
        ((1, 2, 3), tuple[int, int], "input", "2 items are needed, got 3"),
        ({"a": "b"}, dict[str, int], "input.a", "int is needed"),
        ({1: 1}, dict[str, int], "input<key>", "str is needed"),
        ("abc", list[str], "input", "list is needed, got str"),
        (3, abc.Sequence[int], "input", "Sequence is needed, got int"),
        ("c", Literal["a", "b"], "input", "one of 'a', 'b' is needed"),
        (1.0, Literal[1], "input", "one of 1 is needed"),
        (2, Color | str, "input", r"fits none of Color \| str"),
        ("x", dt.datetime, "input", "datetime.datetime is needed, got str"),
        ({}, Custom := type("Custom", (), {}), "input", "Custom is needed, got dict"),
        ({"id": "x", "at": 1, "color": "red", "price": {"amount": 1}}, Model, "input.id", "valid UUID"),
        ({"values": [1, "x"]}, Inner, "input.values[1]", "valid integer"),
        (5, None, "input", "NoneType is needed, got int"),
    ],
    ids=lambda it: named(it, 30),
)
def test_wrong_data_is_refused_by_its_path(plain, hint, path, says):
    with pytest.raises(PayloadError, match=says) as error:
        decode(encode(plain), hint, what="input")
    assert error.value.path == path


def test_a_model_that_was_parsed_from_text_travels():
    parsed = Model.model_validate_json(
        '{"id": "00000000-0000-0000-0000-000000000001", "at": "2026-01-02T03:04:05.000006+05:30", "color": "red",'
        ' "price": {"amount": "1.50"}, "inner": [{"values": [1]}]}'
    )
    again = roundtrip(parsed, Model)[1]
    assert again == parsed
    assert again.at.tzinfo == dt.timezone(dt.timedelta(hours=5, minutes=30))


def test_the_refusal_of_a_model_does_not_show_the_value():
    with pytest.raises(PayloadError) as error:
        decode(encode({"values": ["s3cr3t"]}), Inner)
    assert "s3cr3t" not in str(error.value)


def test_a_class_that_refuses_its_fields_says_why():
    @dataclass
    class Positive:
        n: int

        def __post_init__(self):
            if self.n < 1:
                raise ValueError("n must be positive")

    with pytest.raises(
        PayloadError, match=r"^input\[0\]: .*Positive refuses these fields: ValueError: n must be positive"
    ):
        decode(encode([{"n": 0}]), list[Positive], what="input")


# -- other versions, other sources -----------------------------------------------------------------


def test_unknown_fields_are_passed_over_and_missing_ones_get_defaults():
    newer = encode({"sku": "a", "count": 2, "added": {"later": [1]}})
    assert decode(newer, Line) == LINE
    assert decode(newer, Line | None) == LINE
    assert decode(newer, Line | Approved) == LINE
    assert decode(encode({"sku": "a"}), Line) == Line("a", 1)
    assert decode(encode({"id": "7", "price": MONEY, "x": 1}), Struct) == Struct("7", MONEY)
    assert decode(encode({"id": "7", "_hidden": "red", "x": 1}), Attrs) == Attrs("7", Color.RED)
    assert decode(encode((1, "red", "added later")), Point) == Point(1)
    assert decode(encode((1,)), Point) == Point(1)


def test_of_a_union_the_member_whose_fields_differ_least_is_taken():
    assert decode(encode({"by": "ann", "reason": "no", "added": 1}), Approved | Rejected) == Rejected("ann", "no")
    assert decode(encode({"by": "ann", "added": 1}), Rejected | Approved) == Approved("ann")


@pytest.mark.parametrize(
    ("json", "hint", "value"),
    [
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, "red"], tuple[int, Color], (1, Color.RED)),
        ([1, "red"], Point, Point(1)),
        (["red"], set[Color], {Color.RED}),
        (["a"], frozenset[str], frozenset({"a"})),
        (["a"], abc.Set[str], {"a"}),
        ("2026-01-02T03:04:05.000006Z", dt.datetime, NOW),
        ("2026-01-02", dt.date, dt.date(2026, 1, 2)),
        ("03:04:05", dt.time, dt.time(3, 4, 5)),
        ("PT1M", dt.timedelta, dt.timedelta(minutes=1)),
        (90.5, dt.timedelta, dt.timedelta(seconds=90.5)),
        ("1.50", Decimal, Decimal("1.50")),
        (2, Decimal, Decimal(2)),
        ("00000000-0000-0000-0000-000000000007", UUID, UUID(int=7)),
        ("aGk=", bytes, b"hi"),
        (["2026-01-02"], list[dt.date | None], [dt.date(2026, 1, 2)]),
        ({"id": "7", "price": {"amount": "1.50"}, "lines": [{"sku": "a", "count": 2}], "tags": ["x"]}, Order,
         Order("7", MONEY, (LINE,), {"x"})),
        ({"id": str(UUID(int=1)), "at": NOW, "color": "red", "price": {"amount": "1.50"}, "displayName": "y"},
         Model, Model(id=UUID(int=1), at=NOW, color=Color.RED, price=MONEY, displayName="y")),
    ],
    ids=lambda it: named(it, 30),
)  # fmt: skip
def test_what_json_cannot_say_is_converted(json, hint, value):
    strict(decode(encode(json), hint), value)


# -- cost ------------------------------------------------------------------------------------------


@dataclass
class Left:
    child: Left | Right_ | None
    left: int = 0


@dataclass
class Right_:
    child: Left | Right_ | None
    right: int = 0


def test_unions_within_unions_are_not_tried_over_and_over():
    plain = None
    for _ in range(60):
        plain = {"child": plain, "unknown": 1}
    start = time.process_time()
    assert type(decode(encode(plain), Left | Right_)) is Left
    plain["child"]["child"]["child"]["child"] = 7
    with pytest.raises(PayloadError):
        decode(encode(plain), Left | Right_)
    assert time.process_time() - start < 5  # tried over and over, this takes 2**60 attempts


def test_a_field_that_was_never_set_is_refused():
    order = object.__new__(Money)
    with pytest.raises(PayloadError, match=r"^value\[0\]: a field of .*Money has no value"):
        encode([order])


def test_a_hint_without_a_hash_counts():
    assert roundtrip([LINE], list[Annotated[Line, {"a": "dict"}]])[1] == [LINE]


@pytest.mark.parametrize("hint", ["Unresolved", 7, typing.ParamSpec("P")], ids=str)
def test_a_hint_that_says_nothing_about_values_lets_them_be(hint):
    assert decode(encode([1]), hint) == [1]
