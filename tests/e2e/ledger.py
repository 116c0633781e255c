"""The ledger: what really happened, written outside the system, one line an event, through every kill.

Every line says its ``kind``, the ``pid`` that wrote it and when (``at``, CLOCK_MONOTONIC in seconds: one clock for all
processes of a machine). What a line tells is true from its ``at`` on; a process that was stopped may write it later.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def write(path: str | Path, *, kind: str, **fields: object) -> None:
    """One line, in one write: it is there whole or not at all, also when the process dies right after."""
    line = {"at": time.monotonic(), "kind": kind, "pid": os.getpid(), **fields}
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)


def read(path: str | Path) -> list[Line]:
    """All lines, in the order in which they were written."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()] if Path(path).exists() else []


def counts(path: str | Path, kind: str) -> Counter[tuple[str, str]]:
    """How often each (execution, step) has a line of this kind."""
    return Counter((line["execution"], line["step"]) for line in read(path) if line["kind"] == kind)


class Tail:
    """Reads a ledger as it grows, and nothing twice."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._read = 0

    def news(self) -> list[Line]:
        """The lines that were written since the last look."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as ledger:
            ledger.seek(self._read)
            text = ledger.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
