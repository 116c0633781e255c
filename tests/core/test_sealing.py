"""Everything users gave is sealed, in whatever record it travels, and comes back; nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner.codec import SEALED, decode, encode
from runner.errors import PayloadError
from runner.messages import Emission
from runner.payload_codec import Sealing
from runner.records import (
    AuditEntry,
    Cause,
    Entry,
    Execution,
    History,
    InboxItem,
    Notice,
    Status,
    Try,
    Wait,
    pack_tries,
)
from runner.step import StepState
from runner.store import sealing
from runner.transactions import (
    Action,
    Commit,
    Complete,
    ContinueAsNew,
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

SECRET = "swordfish"
PAYLOAD = encode([SECRET])
TRIES = pack_tries((Try(attempt=1, started_at=1, ended_at=2, worker="w", error=SECRET),))


class Reversed:
    """Enough of a cipher to see what went through it."""

    def encode(self, payload: bytes) -> bytes:
        return payload[::-1]

    def decode(self, payload: bytes) -> bytes:
        if payload.endswith(b"!"):
            raise ValueError
        return payload[::-1]


KEYED = Sealing(Reversed())
ENTRY = Entry(number=1, id="s", kind="step", outcome="ok", payload=PAYLOAD, at=1, tries=TRIES)
START = Start(id="x", request="r", workflow="w", version=1, queue="q", input=PAYLOAD, digest="d", entries=(ENTRY,))
NOTE = AuditEntry(execution_id="x", at=1, kind="note", fields={"id": "n", "message": SECRET, "fields": PAYLOAD})
FAILED = AuditEntry(execution_id="x", at=1, kind="attempt_failed", fields={"id": "s", "attempt": 1, "error": SECRET})
DETAILS = StepState(tries=(Try(attempt=1, started_at=1, ended_at=2, worker="w", error=SECRET),), beat=PAYLOAD).pack()
EMISSION = Emission(id="e", event="told", payload=PAYLOAD, execution_id="x", workflow="w", at=1)


def commit(**parts: Any) -> Commit:
    return Commit(id="x", nonce="n", count=1, lease_ms=1, seen=0, **parts)


def sent(kind: str, payload: bytes) -> Commit:
    return commit(outgoing=(Outgoing(target="t", request="r", kind=kind, payload=payload),))


@pytest.mark.parametrize(
    "asked",
    [
        START,
        commit(entries=(ENTRY,)),
        commit(opens=(Open(id="s", kind="step", name=SECRET, details=DETAILS),)),
        sent("start", START.pack()),
        sent("emit", EMISSION.pack()),
        sent("signal", PAYLOAD),
        sent("cancel", PAYLOAD),
        commit(audit=(NOTE, FAILED)),
        commit(end=Complete(result=PAYLOAD)),
        commit(end=Fail(error=PAYLOAD)),
        commit(end=FailCompensation(error=PAYLOAD)),
        commit(end=RetryAttempt(after_ms=1, error=PAYLOAD)),
        commit(end=ContinueAsNew(input=PAYLOAD)),
        Operate(id="x", request="r", action=Action.RECORD, actor="me", entry=ENTRY, error=PAYLOAD, audit=NOTE),
    ],
    ids=lambda asked: type(asked).__name__,
)
def test_nothing_in_clear_reaches_the_store(asked):
    seal = {Start: sealing.start, Commit: sealing.commit, Operate: sealing.operate}[type(asked)]
    assert SECRET in repr(asked)
    sealed = seal(asked, KEYED.seal)
    assert SECRET not in repr(sealed)
    if not getattr(asked, "opens", ()):  # a carrier before the edge seals nothing twice
        assert seal(sealed, KEYED.seal) == sealed


def test_what_says_nothing_of_users_stays_as_it_is():
    follow = Outgoing(target="t", request="r", kind="follow", payload=b"\x01")
    open_ = Open(id="w", kind="signal", name="approved")
    row = AuditEntry(execution_id="x", at=1, kind="status", fields={"from": "a", "to": "b"})
    asked = commit(outgoing=(follow,), opens=(open_,), audit=(row,), end=Suspend())
    assert sealing.commit(asked, KEYED.seal) == asked
    assert sealing.commit(commit(end=EndCancelled()), KEYED.seal) == commit(end=EndCancelled())


def record(**parts: Any) -> Execution:
    plain = Execution(
        id="x", workflow="w", version=1, queue="q", status=Status.RUNNING, input=PAYLOAD, digest="d", key=None, run=1,
        attempt=1, crashes=0, created_at=1, started_at=1, ended_at=None, deadline=None, seq=1, worker="", lease_until=None,
        result=PAYLOAD, error=PAYLOAD, cause=Cause.NONE, reason="", passed="",
    )  # fmt: skip
    return replace(plain, **parts)


def notice(seal: Any) -> bytes:
    return Notice(execution_id="k", status="completed", result=seal(PAYLOAD), error=seal(PAYLOAD)).pack()


def whole(seal: Any, *, name: str = SECRET) -> History:
    return History(
        execution=record(input=seal(PAYLOAD), result=seal(PAYLOAD), error=seal(PAYLOAD)),
        entries=(replace(ENTRY, payload=seal(PAYLOAD), tries=seal(TRIES)),),
        waits=(Wait(id="s", kind="step", name=name, opened_at=1, deadline=None, details=seal(DETAILS)),),
        inbox=(
            InboxItem(index=0, at=1, kind="signal", name="go", payload=seal(PAYLOAD)),
            InboxItem(index=1, at=1, kind="ended", name="k", payload=notice(seal)),
        ),
        now=1,
    )


def kept_name() -> str:
    (opened,) = sealing.commit(commit(opens=(Open(id="s", kind="step", name=SECRET),)), KEYED.seal).opens
    return opened.name


def test_a_history_comes_back_as_it_was():
    sealed = whole(KEYED.seal, name=kept_name())
    assert SECRET not in repr(sealed)
    assert sealing.history(sealed, KEYED.open) == whole(lambda payload: payload)


def test_rows_come_back_as_they_were():
    for row in (NOTE, FAILED):
        assert sealing.opened_row(sealing.sealed_row(row, KEYED.seal), KEYED.open) == row


def test_what_was_written_before_there_was_a_codec_is_read_as_it_is():
    plain = whole(lambda payload: payload)
    assert sealing.history(plain, KEYED.open) == plain
    assert sealing.history(plain, Sealing(None).open) == plain
    assert sealing.opened_row(NOTE, KEYED.open) == NOTE


def test_what_cannot_be_opened_is_an_error_or_stays_sealed():
    other = Sealing(None)
    sealed = whole(KEYED.seal, name=kept_name())
    with pytest.raises(PayloadError, match="no payload codec"):
        sealing.history(sealed, other.open)
    assert sealing.history(sealed, other.open_or_leave) == sealed
    row = sealing.sealed_row(NOTE, KEYED.seal)
    assert sealing.opened_row(row, other.open_or_leave) == row


def test_a_payload_that_was_changed_is_refused_with_the_cure():
    with pytest.raises(PayloadError, match=r"\(ValueError\): it was changed, or sealed with a key that is not here"):
        KEYED.open(KEYED.seal(PAYLOAD) + b"!")


def test_no_payload_of_the_codecs_looks_sealed_and_a_sealed_one_says_so():
    for value in (None, -1, 2**70, "", "x" * 300, b"\xc1", [], {}, {1: 2}, 1.5, ("a",), {3}):
        assert not encode(value).startswith(SEALED)
    with pytest.raises(PayloadError, match="input: is sealed, and cannot be opened here"):
        decode(KEYED.seal(PAYLOAD), what="input")


def test_a_text_that_only_looks_sealed_is_shown_as_it_is():
    wait = Wait(id="s", kind="step", name="sealed: no Base64", opened_at=1, deadline=None)
    history = replace(whole(lambda payload: payload), waits=(wait,))
    assert sealing.history(history, KEYED.open).waits == (wait,)
