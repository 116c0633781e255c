"""The embedded store: SQLite on a file or in memory, owned by one process."""

from runner.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
