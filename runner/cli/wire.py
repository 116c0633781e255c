"""What goes through the door of ``runner dev``: where it is, what may be asked, and how it is written.

A Unix socket beside the file, for its owner alone. Each line is a JSON document: a request
``{"method": ..., "params": ...}``, an answer ``{"ok": ...}`` or ``{"error": {"type": ..., "message": ...}}``. The
methods are those of the store that a client calls, with its records nearly as they are (``carried``); wake-ups are published behind the
door, where the workers are. ``subscribe`` turns its connection into a stream of words.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import GenericAlias
from typing import Any

import msgspec

from runner.cli.carried import shape_of
from runner.fsck import FsckReport
from runner.records import (
    ChildLink,
    Execution,
    Filter,
    History,
    Leadership,
    Page,
    Schedule,
    WorkerInfo,
)
from runner.store.standing import Standing
from runner.store.vitals import Durability, Losses, StoreVitals
from runner.transactions import (
    Deliver,
    Delivered,
    Operate,
    Operated,
    Start,
    Started,
)

#: What may be asked: the type of the question, and that of the answer.
METHODS: Mapping[str, tuple[Any, Any]] = {
    "hello": (None, str),
    "start": (list[Start], GenericAlias(list, (shape_of(Started),))),
    "deliver": (Deliver, shape_of(Delivered)),
    "record": (str, Execution | None),
    "read": (str, shape_of(History) | None),
    "operate": (shape_of(Operate), shape_of(Operated)),
    "audit": (str, list[bytes]),
    "children": (str, list[ChildLink]),
    "executions": (Filter, Page),
    "fsck": (bool, FsckReport),
    "workers": (int, list[WorkerInfo]),
    "standing": (tuple[str, str], Standing),
    "leader": (None, Leadership | None),
    "schedule": (str, Schedule | None),
    "schedules": (tuple[int, str], list[Schedule]),
    "put_schedules": (list[Schedule], list[bool]),
    "drop_schedule": (tuple[str, int], bool),
    "vitals": (None, StoreVitals),
    "declare": (Durability | None, None),
    "backlog": (None, dict[str, int]),
    "losses": (None, Losses),
    "forget_losses": (None, None),
    "now": (None, int),
    "subscribe": (str, str | None),
}
#: One history in one line; payloads grow by a third on the way.
LONGEST_LINE = 512 * 1024 * 1024
#: How long an address of a Unix socket may be on every system.
_LONGEST_ADDRESS = 100


class Request(msgspec.Struct, frozen=True):
    method: str
    params: msgspec.Raw


class Refused(msgspec.Struct, frozen=True):
    type: str
    message: str


class Answer(msgspec.Struct, frozen=True):
    ok: msgspec.Raw = msgspec.Raw(b"null")
    error: Refused | None = None


def door_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.sock")


def line_of(document: Any) -> bytes:
    return msgspec.json.encode(document, enc_hook=_plain) + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):  # records hold frozen ones
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not pass the door")


@contextmanager
def address_of(path: Path) -> Generator[str]:
    """A name for the socket that is short enough for the system, wherever the file is."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
