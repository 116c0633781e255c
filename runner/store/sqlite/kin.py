"""Executions that concern one another: who is told of an end, and which children end with their parent."""

from __future__ import annotations

from collections.abc import Iterable

from runner.records import ChildLink, Notice
from runner.store import partition_of
from runner.store.sqlite import outbox
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session
from runner.transactions import Deliver, Follow, Outgoing, Parcel


def follow(s: Session, asked: Follow, partitions: int) -> tuple[Parcel, ...]:
    """Tell of an end when it comes, or at once when there is nothing to wait for."""
    row = s.load(asked.target)
    if row is None:
        lost = Notice(execution_id=asked.target, status="unknown")
        outbox.post(s, partition_of(asked.target, partitions), _told(asked.waiter, asked.run, lost, 0, asked.suffix))
    elif row.workflow != asked.workflow:
        other = Notice(execution_id=row.id, status="mismatch", workflow=row.workflow)
        outbox.post(s, row.p, _mismatched(asked, other))
    else:
        add_follower(s, row, asked.waiter, asked.run, asked.suffix)
    return s.harvest()[0]


def add_follower(s: Session, row: Row, waiter: str, run: int, suffix: str = "") -> None:
    """``waiter`` is told when the execution ends; when it has ended already, now.

    What has ended tells everybody who asks, again too: a notice may have come while its waiter had
    ended, and an operator may have reopened that since.
    """
    if row.status.terminal:
        outbox.post(s, row.p, _told(waiter, run, _notice(s, row), row.openings, suffix))
    else:
        s.db.execute("INSERT OR IGNORE INTO follower VALUES (?, ?, ?)", (row.x, waiter, run))


def tell(s: Session, row: Row) -> None:
    """An execution has ended: its followers hear of it, and the children that end with it are cancelled."""
    followers = s.db.execute("SELECT waiter, run FROM follower WHERE x = ?", (row.x,)).fetchall()
    if followers:
        notice = _notice(s, row)
        for waiter, run in followers:
            outbox.post(s, row.p, _told(waiter, run, notice, row.openings))
    sql = "SELECT id FROM child WHERE x = ? AND policy = 'cancel' AND NOT ended"
    for (child,) in s.db.execute(sql, (row.x,)).fetchall():
        outbox.post(s, row.p, _cancelled(row, child))


def add_children(s: Session, row: Row, children: Iterable[tuple[str, str]]) -> None:
    """Remember what the present run started; a child that is known stays as ended as it is."""
    s.db.executemany(
        "INSERT INTO child VALUES (?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET policy = excluded.policy, run = excluded.run",
        [(row.x, child, policy, row.run) for child, policy in children],
    )


def mark_ended(s: Session, row: Row, notice: Deliver) -> None:
    """A notice says that a child has ended; a child of an older run is then forgotten."""
    if notice.request.startswith("mismatch:"):
        return  # of another workflow, it said: the execution of that name may well be running
    child = (row.x, notice.name)
    s.db.execute("UPDATE child SET ended = 1 WHERE x = ? AND id = ?", child)
    s.db.execute("DELETE FROM child WHERE x = ? AND id = ? AND run < ?", (*child, row.run))


def forget_ended(s: Session, row: Row) -> None:
    """A run is over: only those that go on are of interest to the next."""
    s.db.execute("DELETE FROM child WHERE x = ? AND ended", (row.x,))


def children(s: Session, id: str) -> tuple[ChildLink, ...]:
    """The children, by id."""
    found = s.db.execute(
        "SELECT id, policy, ended FROM child WHERE x = (SELECT x FROM execution WHERE ns = ? AND id = ?) ORDER BY id",
        (s.ns, id),
    )
    return tuple(ChildLink(execution_id=child, policy=policy, ended=bool(ended)) for child, policy, ended in found)


def _notice(s: Session, row: Row) -> Notice:
    result, error = s.db.execute("SELECT result, error FROM payload WHERE x = ?", (row.x,)).fetchone()
    return Notice(
        execution_id=row.id,
        status=row.status.value,
        workflow=row.workflow,
        attempt=row.attempt,
        key=row.key,
        cause=row.cause.value,
        reason=row.reason,
        result=result,
        error=error,
    )


def _told(waiter: str, run: int, notice: Notice, opening: int, suffix: str = "") -> Outgoing:
    target = notice.execution_id
    request = f"ended:{target}:{opening}{suffix}"
    return Outgoing(target=waiter, request=request, kind="ended", name=target, payload=notice.pack(), run=run)


def _mismatched(asked: Follow, notice: Notice) -> Outgoing:
    return Outgoing(
        target=asked.waiter,
        request=f"mismatch:{asked.target}:{asked.workflow}{asked.suffix}",
        kind="ended",
        name=asked.target,
        payload=notice.pack(),
        run=asked.run,
    )


def _cancelled(row: Row, child: str) -> Outgoing:
    reason = f"its parent {row.id} has ended"
    return Outgoing(target=child, request=f"cancel:{row.id}:{row.openings}", kind="cancel", name=reason)
