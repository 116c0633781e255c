"""What an operator does to an execution, whoever owns it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runner.errors import UsageError
from runner.records import AuditEntry, Entry, Status
from runner.store.sqlite import interventions, journal, kin, requests, saving, trail
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session
from runner.transactions import Action, Operate, Operated, Verdict


def operate(s: Session, asked: Operate) -> Operated:
    """Check, then do it."""
    row = s.load(asked.id)
    if row is None:
        return Operated(verdict=Verdict.UNKNOWN)
    if (before := requests.before(s, row, asked.request)) is not None:
        return Operated(verdict=Verdict.DONE, status=row.status, wake=before.wake)
    if asked.entries is not None and asked.entries != journal.length(s, row):
        return Operated(verdict=Verdict.CHANGED, status=row.status)
    if not interventions.allows(row, asked.action):
        return Operated(verdict=Verdict.REFUSED, status=row.status)
    changed = saving.save(s, row, _DEEDS[asked.action](s, row, asked), _notes(s, row, asked))
    if row.owned and not changed.owned:
        s.words.append((f"worker/{row.worker}", row.id))
    wake = requests.remember(s, row, changed, asked.request)
    parcels, rows = s.harvest()
    return Operated(verdict=Verdict.DONE, status=changed.status, wake=wake, parcels=parcels, rows=rows)


def _notes(s: Session, row: Row, asked: Operate) -> list[AuditEntry]:
    return [asked.audit or trail.line(s, row, "operator", action=asked.action.value, actor=asked.actor)]


def _rewritten(s: Session, row: Row, asked: Operate, entry: Entry | None = None) -> Row:
    """What is forgotten of the journal, what is put into it, and the line behind it."""
    row = journal.drop(s, row, [id for id in asked.drop if entry is None or id != entry.id])
    for one in (entry, asked.mark):
        row = row if one is None else journal.put(s, row, one)
    return row


def _reopen(s: Session, row: Row, asked: Operate) -> Row:
    row = _rewritten(s, row, asked)
    s.db.execute("UPDATE payload SET error = NULL WHERE x = ?", (row.x,))
    again = interventions.reopened(row, asked.action is Action.ROLLBACK, s.now)
    kin.tell_parent(s, again)
    return again


def _record(s: Session, row: Row, asked: Operate) -> Row:
    if asked.entry is None:
        raise UsageError(f"what is to be recorded for {row.id!r}? give an entry")
    row = _rewritten(s, row, asked, asked.entry)
    s.db.execute("DELETE FROM wait WHERE x = ? AND id = ?", (row.x, asked.entry.id))
    return interventions.recorded(row, asked.entry.id, s.now)


def _hurry(s: Session, row: Row, asked: Operate) -> Row:
    due = [(s.now, row.x, id) for id in asked.hurry]
    over = s.db.executemany("UPDATE wait SET deadline = ? WHERE x = ? AND id = ?", due).rowcount
    return interventions.woken(row, s.now) if over > 0 or row.status is Status.RETRYING else row


def _force_fail(s: Session, row: Row, asked: Operate) -> Row:
    s.db.execute("UPDATE payload SET error = ? WHERE x = ?", (asked.error, row.x))
    return interventions.forced(row, s.now)


def _leave(_s: Session, row: Row, _asked: Operate) -> Row:
    return row


_DEEDS: Mapping[Action, Callable[[Session, Row, Operate], Row]] = {
    Action.RETRY: _reopen,
    Action.ROLLBACK: _reopen,
    Action.RECORD: _record,
    Action.HURRY: _hurry,
    Action.FORCE_FAIL: _force_fail,
    Action.FORK: _leave,
}
