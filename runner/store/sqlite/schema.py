"""The tables, and opening a file that holds them."""

from __future__ import annotations

import sqlite3

from runner.errors import ConfigError

SCHEMA = 1
#: The number of no namespace: nothing is there.
NOWHERE = 0
_WRITING = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})

# What changes with every turn is kept apart from payloads, which may be a MiB each: SQLite writes
# a row anew, with all its overflow pages, whenever one of its columns changes.
#
# Every time index is partial: it holds what is waiting, and does not grow with what is over.
TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE namespace (ns INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL);

CREATE TABLE execution (
    x INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    p INTEGER NOT NULL,
    id TEXT NOT NULL,
    request TEXT NOT NULL,
    workflow TEXT NOT NULL,
    version INTEGER NOT NULL,
    queue TEXT NOT NULL,
    digest TEXT NOT NULL,
    key TEXT,
    created_at INTEGER NOT NULL,
    deadline INTEGER,
    retention_ms INTEGER NOT NULL,
    parent TEXT NOT NULL,
    parent_run INTEGER NOT NULL,
    parent_close TEXT NOT NULL,
    seed TEXT NOT NULL,
    timeout_ms INTEGER,
    audit INTEGER NOT NULL,
    status TEXT NOT NULL,
    run INTEGER NOT NULL,
    run_at INTEGER,
    attempt INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    seq INTEGER NOT NULL,
    worker TEXT NOT NULL,
    nonce TEXT NOT NULL,
    lease_until INTEGER,
    commits INTEGER NOT NULL,
    answer BLOB NOT NULL,
    last_nonce TEXT NOT NULL,
    left_nonce TEXT NOT NULL,
    left_commits INTEGER NOT NULL,
    left_answer BLOB NOT NULL,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    passed TEXT NOT NULL,
    passes INTEGER NOT NULL,
    ready_at INTEGER,
    since INTEGER,
    timer_at INTEGER,
    expires_at INTEGER,
    inbox INTEGER NOT NULL,
    cancel_index INTEGER,
    outstanding INTEGER NOT NULL,
    rollback INTEGER NOT NULL,
    escaped BLOB NOT NULL,
    openings INTEGER NOT NULL,
    stuck INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    UNIQUE (ns, id)
);
CREATE INDEX ready ON execution (ns, p, ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX ready_queue ON execution (ns, p, queue) WHERE ready_at IS NOT NULL;
CREATE INDEX line ON execution (ns, queue, since) WHERE ready_at IS NOT NULL;
CREATE INDEX passed_over ON execution (ns, workflow, version, ready_at) WHERE passes > 0;
CREATE INDEX timers ON execution (ns, p, timer_at) WHERE timer_at IS NOT NULL;
CREATE INDEX leases ON execution (ns, p, lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX expiry ON execution (ns, p, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX by_age ON execution (ns, created_at);
CREATE INDEX by_status ON execution (ns, status, created_at);
CREATE INDEX by_workflow ON execution (ns, workflow, created_at);
CREATE INDEX by_both ON execution (ns, status, workflow, created_at);
CREATE INDEX by_need ON execution (ns, created_at) WHERE stuck = 1;

CREATE TABLE payload (x INTEGER PRIMARY KEY, input BLOB NOT NULL, result BLOB, error BLOB);

CREATE TABLE entry (x INTEGER NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL, packed BLOB NOT NULL, UNIQUE (x, id));

CREATE TABLE wait (
    x INTEGER NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    deadline INTEGER,
    attempts INTEGER NOT NULL,
    details BLOB NOT NULL,
    PRIMARY KEY (x, id)
) WITHOUT ROWID;

CREATE TABLE inbox (
    x INTEGER NOT NULL,
    place INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (x, place)
);

CREATE TABLE request (x INTEGER NOT NULL, request TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (x, request)) WITHOUT ROWID;

CREATE TABLE attribute (
    x INTEGER NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    ns INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (x, name)
) WITHOUT ROWID;
CREATE INDEX by_attribute ON attribute (ns, name, text, created_at, x);

CREATE TABLE audit (x INTEGER NOT NULL, place INTEGER NOT NULL, packed BLOB NOT NULL, UNIQUE (x, place));

CREATE TABLE child (
    x INTEGER NOT NULL,
    id TEXT NOT NULL,
    policy TEXT NOT NULL,
    run INTEGER NOT NULL,
    phase INTEGER NOT NULL,
    PRIMARY KEY (x, id)
) WITHOUT ROWID;

CREATE TABLE follower (
    x INTEGER NOT NULL,
    waiter TEXT NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (x, waiter, run)
) WITHOUT ROWID;

CREATE TABLE tombstone (
    ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    request TEXT NOT NULL,
    reason TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (ns, id)
) WITHOUT ROWID;
CREATE INDEX tombstone_age ON tombstone (ns, until);

CREATE TABLE outbox (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    p INTEGER NOT NULL,
    at INTEGER NOT NULL,
    target TEXT NOT NULL,
    request TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    payload BLOB NOT NULL,
    run INTEGER NOT NULL
);
CREATE INDEX outbox_order ON outbox (ns, p, place);

CREATE TABLE seat (ns INTEGER PRIMARY KEY, nonce TEXT NOT NULL, name TEXT NOT NULL, until INTEGER NOT NULL);

CREATE TABLE worker (
    ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (ns, id)
) WITHOUT ROWID;

CREATE TABLE schedule (
    ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER,
    packed BLOB NOT NULL,
    UNIQUE (ns, id)
);
CREATE INDEX schedules_due ON schedule (ns, due_at, id) WHERE due_at IS NOT NULL;

CREATE TABLE loss (
    ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (ns, kind, id)
) WITHOUT ROWID;

CREATE TABLE gone (ns INTEGER NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (ns, id)) WITHOUT ROWID;
CREATE INDEX gone_age ON gone (ns, at);
"""


def connect(path: str | None) -> sqlite3.Connection:
    """A connection that survives a power loss with everything it committed; transactions are begun by hand.

    It may be used from any thread, by one at a time.
    """
    where = ":memory:" if path is None else path
    # The store has more statements than the 128 that are kept compiled by default.
    db = sqlite3.connect(where, isolation_level=None, check_same_thread=False, cached_statements=512)
    if path is not None:
        db.execute("PRAGMA synchronous = FULL")
    return db


def prepare(db: sqlite3.Connection, where: str) -> None:
    """Create the tables in an empty file, or check what is there. Raises ConfigError naming ``where``."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        _create(db)
    elif "meta" not in tables or "execution" not in tables:
        raise ConfigError(f"{where} holds tables that are not Runner's: give the store a file of its own")
    row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    found = row[0] if row else "unknown"
    if found != str(SCHEMA):
        raise ConfigError(
            f"{where} has schema {found}, this version of Runner reads schema {SCHEMA}: "
            f"use the version that wrote it, or another file"
        )
    db.execute("PRAGMA journal_mode = WAL")  # written into the file, so only once it is known to be ours


def look_up(db: sqlite3.Connection, namespace: str) -> tuple[int, int]:
    """The number of a namespace, and its partitions; (NOWHERE, 0) when there is none of this name."""
    found = db.execute("SELECT ns, partitions FROM namespace WHERE name = ?", (namespace,)).fetchone()
    return found or (NOWHERE, 0)


def write_no_more(db: sqlite3.Connection) -> None:
    """From here on the connection only reads: anything else fails, whoever asks for it."""
    db.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action in _WRITING else sqlite3.SQLITE_OK)


def enter(db: sqlite3.Connection, where: str, namespace: str, partitions: int) -> int:
    """The number of the namespace, which is created when it is new. Raises ConfigError for other partitions."""
    db.execute("INSERT OR IGNORE INTO namespace (name, partitions) VALUES (?, ?)", (namespace, partitions))
    ns, found = db.execute("SELECT ns, partitions FROM namespace WHERE name = ?", (namespace,)).fetchone()
    if found != partitions:
        raise ConfigError(
            f"namespace {namespace!r} in {where} has {found} partitions, asked for were {partitions}: "
            f"the number is fixed when a namespace is created; use {found}, or another namespace"
        )
    return int(ns)


def _create(db: sqlite3.Connection) -> None:
    # One transaction: a process killed in between must not leave half a schema behind.
    db.executescript(f"BEGIN; {TABLES} INSERT INTO meta VALUES ('schema', '{SCHEMA}'); COMMIT;")  # noqa: S608
