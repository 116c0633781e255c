"""Bytes from a store that someone else can write to: nothing of them runs, fills the memory or takes long."""

from __future__ import annotations

import ast
import pathlib
import struct
import time
import tracemalloc
from datetime import UTC, datetime

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

import runner.codec
from runner.codec import MAX_PAYLOAD, decode, encode, roundtrip
from runner.codec.limits import MAX_COLLISIONS, MAX_DEPTH, MAX_NODES
from runner.codec.lower import Lowering
from runner.codec.misfit import Misfit
from runner.codec.scalars import READERS
from runner.codec.scan import scan
from runner.codec.wire import pack
from runner.errors import PayloadError
from tests.core.test_codec import CALM, VALUES

MB = MAX_PAYLOAD
COLLIDING = 2**61 - 1  # hash(k * this) == 0 for every k


def ext(code, data):
    return msgpack.packb(msgpack.ExtType(code, data))


def nested(levels, inner=b"\xc0"):
    return b"\x91" * levels + inner


def array(*members):
    return b"\xdd" + struct.pack(">I", len(members)) + b"".join(members)


BOMBS = {
    "a megabyte of empty arrays": b"\xdd" + struct.pack(">I", MB - 5) + b"\x90" * (MB - 5),
    "a megabyte of empty maps": b"\xdd" + struct.pack(">I", MB - 5) + b"\x80" * (MB - 5),
    "a megabyte of nulls": b"\xdd" + struct.pack(">I", MB - 5) + b"\xc0" * (MB - 5),
    "arrays of arrays": array(*[array(*[b"\x90"] * 1000)] * 200),
    "a hundred thousand levels": nested(100_000),
    "a thousand levels": nested(1_000),
    "a hundred thousand levels of maps": b"\x81\xc0" * 100_000 + b"\xc0",
    "a huge map": b"\xdf\xff\xff\xff\xff" + b"\xc0" * 1000,
    "a huge array": b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1000,
    "a huge text": b"\xdb\xff\xff\xff\xff" + b"x" * 1000,
    "huge arrays in each other": b"\xdd\x00\x0f\x00\x00" * 1000 + b"\xc0" * (MB - 5000),
    "huge arrays in each other, few bytes": b"\xdd\x00\x01\x80\x00" * 60 + b"\xc0" * 99_000,
    "colliding keys": b"\xdf"
    + struct.pack(">I", 45_000)
    + b"".join(ext(2, (k * COLLIDING << 8).to_bytes(13, "big")) + b"\xc0" for k in range(1, 45_001)),
    "colliding members": array(
        ext(1, b"s"), *(ext(2, (k * COLLIDING << 8).to_bytes(13, "big")) for k in range(1, 60_001))
    ),
    "colliding tuples as keys": array(
        ext(1, b"d"),
        *(array(ext(1, b"t"), ext(2, (k * COLLIDING << 8).to_bytes(13, "big"))) + b"\xc0" for k in range(1, 20_001)),
    ).replace(struct.pack(">I", 20_001), struct.pack(">I", 40_001), 1),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(bomb):
    assert len(bomb) <= MAX_PAYLOAD
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(PayloadError):
            decode(bomb)
        taken, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60_000_000
    assert taken < 5  # under tracemalloc; the colliding ones take minutes when they go off


def test_arrays_are_refused_before_anything_is_built():
    tracemalloc.start()
    with pytest.raises(PayloadError, match="more than 100,000 values"):
        decode(BOMBS["a megabyte of empty arrays"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MB


GARBAGE = {
    "nothing": b"",
    "no msgpack": b"\xc1",
    "cut off": encode({"a": "bcd"})[:-1],
    "too much": encode(1) + encode(2),
    "no UTF-8": b"\xa1\xff",
    "a list as a key": b"\x81\x90\x01",
    "a dict in a set": array(ext(1, b"s"), b"\x80"),
    "an unknown extension": ext(99, b"x"),
    "a timestamp": msgpack.packb(datetime.now(UTC), datetime=True),
    "a timestamp of 8 bytes": b"\xd7\xff" + b"\x00" * 8,
    "a timestamp of 12 bytes": b"\xc7\x0c\xff" + b"\x00" * 12,
    "a timestamp inside": array(ext(1, b"t"), msgpack.packb(msgpack.Timestamp(1))),
    "a mark by itself": ext(1, b"t"),
    "a mark in second place": array(b"\xc0", ext(1, b"t")),
    "a mark behind a mark": array(ext(1, b"t"), ext(1, b"t")),
    "a mark as a value": b"\x81\xa1a" + ext(1, b"t"),
    "a mark as a key": b"\x81" + ext(1, b"t") + b"\xc0",
    "an unknown mark": array(ext(1, b"x")),
    "an empty mark": array(ext(1, b"")),
    "a key without a value": array(ext(1, b"d"), b"\x01"),
    **{f"nonsense of type {code}": ext(code, b"\xff\xfe~@#") for code in READERS if code not in (2, 10)},
    "an offset of a day": ext(3, b"2026-01-01T00:00:00/86400000000"),
    "an offset of a million digits": ext(3, b"2026-01-01T00:00:00/" + b"9" * 1_000_000),
    "a path as a zone": ext(3, b"2026-01-01T00:00:00@../../etc/passwd"),
    "a module as a zone": ext(3, b"2026-01-01T00:00:00@os.path"),
    "a zone nobody knows": ext(3, b"2026-01-01T00:00:00@Mars/Olympus"),
    "a directory as a zone": ext(3, b"2026-01-01T00:00:00@Europe"),
}


@pytest.mark.parametrize("blob", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused(blob):
    with pytest.raises(PayloadError, match=r"^input"):
        decode(blob, what="input")


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/localtime", "os.path", "a" * 100, "Europe/", ""])
def test_what_names_no_zone_opens_no_file(key):
    with pytest.raises(PayloadError, match="in a way that no time zone is named"):
        decode(ext(3, f"2026-01-01T00:00:00@{key}".encode()))


@CALM
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_payload_error(blob):
    try:
        decode(blob)
    except PayloadError:
        return


@CALM
@given(VALUES, st.data())
def test_changed_bytes_are_a_value_or_a_payload_error(value, data):
    blob = bytearray(encode(value))
    blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(blob))
    except PayloadError:
        return


@CALM
@given(VALUES)
def test_writer_and_scan_count_alike(value):
    lowering = Lowering()
    plain = lowering.value(value)
    assert scan(pack(plain)) == lowering.nodes


def deep(kind, levels):
    value = kind()
    for _ in range(levels - 1):
        value = {"a": value} if kind is dict else kind([value])
    return value


@pytest.mark.parametrize("kind", [list, tuple, dict, frozenset])
def test_writer_and_reader_agree_on_the_depth(kind):
    blob = encode(deep(kind, MAX_DEPTH))
    assert encode(decode(blob)) == blob
    assert scan(blob) > MAX_DEPTH - 1
    with pytest.raises(PayloadError, match="nested deeper than 64 levels, or contains itself"):
        encode(deep(kind, MAX_DEPTH + 1))
    deeper = pack(deep(dict if kind is dict else list, MAX_DEPTH + 1))
    with pytest.raises(Misfit, match="nested deeper"):
        scan(deeper)
    with pytest.raises(PayloadError, match="nested deeper"):
        decode(deeper)


def test_a_value_that_contains_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(PayloadError, match="contains itself"):
        encode(loop)


def test_writer_and_reader_agree_on_the_number_of_values():
    for value in ([0] * (MAX_NODES - 1), tuple([0] * (MAX_NODES - 2)), [[0]] * (MAX_NODES // 2 - 1)):
        assert decode(encode(value)) == value
    for value in (
        [0] * MAX_NODES,
        tuple([0] * (MAX_NODES - 1)),
        dict.fromkeys(range(MAX_NODES // 2)),
        [[0]] * MAX_NODES,
    ):
        with pytest.raises(PayloadError, match="holds more than 100,000 values"):
            encode(value)


def test_writer_and_reader_agree_on_collisions():
    few = {k * COLLIDING << 8 for k in range(1, MAX_COLLISIONS + 1)}
    assert decode(encode(few)) == few
    many = [k * COLLIDING << 8 for k in range(1, MAX_COLLISIONS + 3)]
    for value in (set(many), dict.fromkeys(many), frozenset(many), {(k,): 0 for k in many}):
        with pytest.raises(PayloadError, match="share a hash"):
            encode(value)


def test_an_extension_of_the_user_cannot_forge_one_of_ours():
    forged = msgpack.ExtType(1, b"t")
    assert decode(encode([forged, 1])) == [(1, b"t"), 1]
    with pytest.raises(PayloadError, match="ExtType goes in and tuple comes out"):
        roundtrip([forged, 1])
    with pytest.raises(PayloadError, match="cannot be stored"):
        encode(msgpack.Timestamp(1))


def test_nothing_that_is_read_is_run_imported_or_looked_up_by_name():
    forbidden = {"pickle", "marshal", "shelve", "importlib", "eval", "exec", "compile", "__import__", "Unpacker"}
    for module in pathlib.Path(runner.codec.__file__).parent.glob("*.py"):
        names = {
            name
            for node in ast.walk(ast.parse(module.read_text()))
            for name in (
                [node.id]
                if isinstance(node, ast.Name)
                else [node.attr]
                if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "re")
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import | ast.ImportFrom)
                else []
            )
        }
        assert not names & forbidden, module.name
