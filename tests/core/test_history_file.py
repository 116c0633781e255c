"""A history file is read back whole, byte for byte, and nothing else is read as one."""

from __future__ import annotations

import json

import pytest

from runner.errors import UsageError
from runner.history_file import read_history, write_history
from runner.records import Status, Try, pack_tries
from tests.core.histories import entry, history

FOUND = history(
    Status.FAILED,
    entry(
        1,
        "a",
        payload=bytes(range(256)),
        tries=pack_tries((Try(attempt=1, started_at=1, ended_at=2, worker="w", error="e"),)),
    ),
    entry(2, "b", "failed", consumes=3),
    attributes={"vip": True, "n": 1},
    escaped=("b",),
    result=b"\x00",
)


def test_a_history_is_read_back_whole():
    file = read_history(write_history(FOUND))
    assert (file.execution, file.entries, file.version) == (FOUND.execution, FOUND.entries, 1)


def test_a_record_without_attributes_is_written_too():
    assert read_history(write_history(history(Status.COMPLETED))).execution.attributes == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other", "version": 1}', b"\xff"])
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError, match="no history file"):
        read_history(text)


def test_a_later_version_is_refused_by_its_number():
    later = json.dumps(json.loads(write_history(FOUND)) | {"version": 2, "novelty": 1})
    with pytest.raises(UsageError, match="version 2"):
        read_history(later)
