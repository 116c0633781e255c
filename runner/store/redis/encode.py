"""Records to script arguments. Blobs are opaque to the scripts; what they must read travels beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

import msgpack

from runner.records import Entry, WorkerInfo
from runner.store.redis.connection import Word
from runner.transactions import (
    Commit,
    Complete,
    ContinueAsNew,
    Deliver,
    End,
    EndCancelled,
    Fail,
    FailCompensation,
    Open,
    Operate,
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
        start.parent,
        start.parent_run,
        start.parent_close,
        start.seed,
        _or_empty(start.run_at),
        start.audit,
        *_list(start.attributes),
        *_list(map(_entry, start.entries)),
    )


def commit_words(commit: Commit) -> tuple[Word, ...]:
    return (
        commit.id,
        commit.nonce,
        commit.count,
        commit.lease_ms,
        commit.seen,
        commit.outstanding,
        *_list(map(_entry, commit.entries)),
        *_list(map(_open, commit.opens)),
        *_list((id,) for id in commit.closes),
        *_list(map(_outgoing, commit.outgoing)),
        *_list(commit.children),
        *_list(commit.attributes),
        *_list((row.pack(),) for row in commit.audit),
        *_end(commit.end),
    )


def operate_words(operate: Operate) -> tuple[Word, ...]:
    return (
        operate.id,
        operate.request,
        operate.action,
        operate.actor,
        _or_empty(operate.entries),
        *_unnumbered(operate.entry),
        *_unnumbered(operate.mark),
        operate.error,
        operate.audit.pack() if operate.audit else b"",
        *_list((id,) for id in operate.drop),
        *_list((id,) for id in operate.hurry),
    )


def inbox_blob(deliver: Deliver) -> bytes:
    return bytes(msgpack.packb((deliver.name, deliver.payload)))


def worker_blob(worker: WorkerInfo) -> bytes:
    fields = (worker.id, worker.build, worker.queues, worker.workflows, worker.slots, worker.lease_ms)
    return bytes(msgpack.packb((*fields, worker.load.row(), worker.host, worker.pid)))


def _end(end: End | None) -> tuple[Word, ...]:
    """Its name among the script's ends, the blob it leaves, the delay it asks for, what escaped, and its list."""
    match end:
        case RetryAttempt(after_ms=after_ms, error=error, drop=drop):
            return _ending("retry", error, after_ms=after_ms, words=drop)
        case ContinueAsNew(input=input, keep=keep):
            return _ending("continue", input, words=keep)
        case Fail(error=error, escaped=escaped):
            return _ending("fail", error, escaped=escaped)
        case _:
            return _ending(*_plain_end(end))


def _plain_end(end: Suspend | Complete | FailCompensation | EndCancelled | None) -> tuple[str, bytes]:
    match end:
        case None:
            return "", b""
        case Suspend():
            return "suspend", b""
        case Complete(result=result):
            return "complete", result
        case FailCompensation(error=error):
            return "fail_compensation", error
        case EndCancelled():
            return "end_cancelled", b""


def _ending(
    kind: str, blob: bytes = b"", *, after_ms: int = 0, escaped: tuple[str, ...] = (), words: Sequence[Word] = ()
) -> tuple[Word, ...]:
    kept = bytes(msgpack.packb(escaped)) if escaped else b""
    return kind, blob, after_ms, kept, *_list((word,) for word in words)


def _entry(entry: Entry) -> tuple[Word, ...]:
    return entry.id, entry.pack()


def _open(wait: Open) -> tuple[Word, ...]:
    about = bytes(msgpack.packb((wait.kind, wait.name, wait.attempts, wait.details)))
    return wait.id, _or_empty(wait.after_ms), _or_empty(wait.until_ms), int(wait.replace), about


def _outgoing(outgoing: Outgoing) -> tuple[Word, ...]:
    return outgoing.kind, outgoing.target, outgoing.request, outgoing.name, outgoing.run, outgoing.payload


def _unnumbered(entry: Entry | None) -> tuple[Word, ...]:
    """Its id, and its blob before and behind its number, which the script puts between.

    A packed entry is one byte that says how many fields there are, and then the fields, the number first.
    """
    if entry is None:
        return "", b"", b""
    blob = replace(entry, number=0).pack()  # zero is one byte
    return entry.id, blob[:1], blob[2:]


def _list(rows: Iterable[Sequence[Word]]) -> tuple[Word, ...]:
    rows = tuple(rows)
    return (len(rows), *chain.from_iterable(rows)) if rows else (0,)


def _or_empty(number: int | None) -> Word:
    return "" if number is None else number
