"""The ledger: what really happened, written outside the system, one line a call, through every kill."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path


def write(path: str | Path, **fields: object) -> None:
    """One line, in one write: it is there whole or not at all, also when the process dies right after."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(fields) + "\n").encode())
    finally:
        os.close(descriptor)


def read(path: str | Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()] if Path(path).exists() else []


def counts(path: str | Path, kind: str) -> Counter[tuple[str, str]]:
    """How often each (execution, step) has a line of this kind."""
    return Counter((line["execution"], line["step"]) for line in read(path) if line["kind"] == kind)
