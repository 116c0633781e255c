"""A history as a file: what one execution did, to be replayed elsewhere. JSON, with payloads in base64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from runner.errors import UsageError
from runner.records import Entry, Execution, History

#: Raised with every change that an older reader would misread.
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFile:
    """What a replay needs: the record and the journal, by number."""

    format: Literal["runner-history"] = "runner-history"
    version: int = VERSION
    execution: Execution
    entries: tuple[Entry, ...]


def write_history(history: History) -> str:
    """The text of the file. Holds the inputs and results of the execution, readable by anybody who has it."""
    file = HistoryFile(execution=history.execution, entries=history.entries)
    return msgspec.json.format(msgspec.json.encode(file, enc_hook=_plain)).decode() + "\n"


def read_history(text: str | bytes) -> HistoryFile:
    """Raises UsageError for what ``write_history`` did not write, or a later version did."""
    try:
        head = msgspec.json.decode(text, type=_Head)
        if head.version > VERSION:
            raise UsageError(f"a history file of version {head.version}: this Runner reads up to version {VERSION}")
        return msgspec.json.decode(text, type=HistoryFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"this is no history file (`runner executions history ID --json` writes one): {error}"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    format: Literal["runner-history"]
    version: int


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in a history file")
