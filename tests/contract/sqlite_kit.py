"""What the tests of SQLite's own share: a store on a path or in memory, and what it runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.store.sqlite import SqliteStore, schema


async def opened(path: Path | None, namespace: str = "n", clock: Callable[[], int] | None = None) -> SqliteStore:
    store = SqliteStore(None if path is None else str(path), namespace=namespace, clock=clock)
    await store.open()
    return store


def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that connections opened from now on will run."""
    statements: list[str] = []
    connect = schema.connect

    def tracing(path: str | None) -> sqlite3.Connection:
        db = connect(path)
        db.set_trace_callback(statements.append)
        return db

    monkeypatch.setattr(schema, "connect", tracing)
    return statements
