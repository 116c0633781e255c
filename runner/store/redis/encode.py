"""Records to script arguments. Blobs are opaque to the scripts; what they must read travels beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import msgpack

from runner.records import Entry, WorkerInfo
from runner.store.redis.connection import Word
from runner.transactions import (
    Commit,
    Complete,
    Deliver,
    End,
    EndCancelled,
    Fail,
    Open,
    Outgoing,
    RetryAttempt,
    Start,
    Suspend,
)


def start_words(start: Start) -> tuple[Word, ...]:
    return (
        start.id,
        start.request,
        start.workflow,
        start.version,
        start.queue,
        start.input,
        start.digest,
        "" if start.key is None else f"={start.key}",
        _or_empty(start.timeout_ms),
        start.delay_ms,
        _or_empty(start.at_ms),
        start.retention_ms,
    )


def commit_words(commit: Commit) -> tuple[Word, ...]:
    kind, blob, after_ms = _end(commit.end)
    return (
        commit.id,
        commit.nonce,
        commit.count,
        commit.lease_ms,
        commit.seen,
        *_list(map(_entry, commit.entries)),
        *_list(map(_open, commit.opens)),
        *_list((id,) for id in commit.closes),
        *_list(map(_outgoing, commit.outgoing)),
        *_list((id,) for id in (commit.end.drop if isinstance(commit.end, RetryAttempt) else ())),
        kind,
        blob,
        after_ms,
    )


def inbox_item(deliver: Deliver) -> bytes:
    return bytes(msgpack.packb((deliver.kind, deliver.name, deliver.payload)))


def worker_blob(worker: WorkerInfo) -> bytes:
    fields = (worker.id, worker.build, worker.queues, worker.workflows, worker.slots, worker.lease_ms)
    return bytes(msgpack.packb(fields))


def _end(end: End | None) -> tuple[str, bytes, int]:
    """Its name among the script's ends, the blob it leaves, the delay it asks for."""
    match end:
        case None:
            return "", b"", 0
        case Suspend():
            return "suspend", b"", 0
        case Complete(result=result):
            return "complete", result, 0
        case Fail(error=error):
            return "fail", error, 0
        case EndCancelled():
            return "end_cancelled", b"", 0
        case RetryAttempt(after_ms=after_ms, error=error):
            return "retry", error, after_ms


def _entry(entry: Entry) -> tuple[Word, ...]:
    return entry.id, entry.pack()


def _open(wait: Open) -> tuple[Word, ...]:
    about = bytes(msgpack.packb((wait.kind, wait.name, wait.attempts)))
    return wait.id, _or_empty(wait.after_ms), _or_empty(wait.until_ms), int(wait.replace), about


def _outgoing(outgoing: Outgoing) -> tuple[Word, ...]:
    return outgoing.target, outgoing.request, outgoing.kind, outgoing.name, outgoing.payload


def _list(rows: Iterable[Sequence[Word]]) -> tuple[Word, ...]:
    rows = tuple(rows)
    return (len(rows), *chain.from_iterable(rows)) if rows else (0,)


def _or_empty(number: int | None) -> Word:
    return "" if number is None else number
