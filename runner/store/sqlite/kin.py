"""Executions that concern one another: who is told of an end, and which children end with their parent."""

from __future__ import annotations

from collections.abc import Iterable

from runner.records import ChildLink, Notice
from runner.store import partition_of
from runner.store.sqlite import outbox
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session
from runner.transactions import Deliver, Delivered, Follow, Outgoing, Parcel, Reception

#: A child's phase is the latest that is known of it, and odd when it has ended: 0 from its start on, 1 from its end, 2 when an
#: operator opened it again, 3 from that end. No order is promised of what tells of it: a phase is only followed by a later one.
_ENDS_WITH_IT = "policy = 'cancel' AND phase % 2 = 0"


def follow(s: Session, asked: Follow, partitions: int) -> tuple[Parcel, ...] | None:
    """Tell of an end when it comes, or at once when there is nothing to wait for; None while it is still to come."""
    row = s.load(asked.target)
    if row is None and asked.expected:
        return None
    if row is None:
        lost = Notice(execution_id=asked.target, status="unknown")
        outbox.post(s, partition_of(asked.target, partitions), _told(asked.waiter, asked.run, lost, 0, asked.suffix))
    elif asked.workflow not in ("", row.workflow):
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
    for (child,) in s.db.execute(f"SELECT id FROM child WHERE x = ? AND {_ENDS_WITH_IT}", (row.x,)).fetchall():  # noqa: S608
        outbox.post(s, row.p, _cancelled(row, child))


def add_children(s: Session, row: Row, children: Iterable[tuple[str, str]]) -> None:
    """Remember what the present run started; a child that is known keeps its phase."""
    s.db.executemany(
        "INSERT INTO child VALUES (?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET policy = excluded.policy, run = excluded.run",
        [(row.x, child, policy, row.run) for child, policy in children],
    )


def mark_ended(s: Session, row: Row, notice: Deliver) -> None:
    """A notice says that a child has ended; a child of an older run is then forgotten."""
    if notice.request.startswith("mismatch:"):
        return  # of another workflow, it said: the execution of that name may well be running
    child, phase = (row.x, notice.name), 2 * _openings_told(notice) + 1
    s.db.execute("DELETE FROM child WHERE x = ? AND id = ? AND run < ? AND phase <= ?", (*child, row.run, phase))
    s.db.execute("UPDATE child SET phase = max(phase, ?) WHERE x = ? AND id = ?", (phase, *child))


def _openings_told(notice: Deliver) -> int:
    """Which of its ends it is: ``ended:<child>:<openings>…``. Others tell of a child that has only one."""
    told = notice.request.removeprefix(f"ended:{notice.name}:")
    return 0 if told == notice.request else int(told.partition(":")[0])


def take_reopened(s: Session, asked: Deliver) -> Delivered:
    """A child goes on again: an older run's, which may have been forgotten, is known anew.

    When its parent had not ended at that time and has since, it is cancelled here: that end did not know of it.
    """
    row = s.load(asked.id)
    if row is None:
        return Delivered(reception=Reception.UNKNOWN)
    openings, at, run, policy = _reopening(asked.payload)
    if policy and run < row.run:
        s.db.execute("INSERT OR IGNORE INTO child VALUES (?, ?, ?, ?, 0)", (row.x, asked.name, policy, run))
    child = (row.x, asked.name)
    s.db.execute("UPDATE child SET phase = max(phase, ?) WHERE x = ? AND id = ?", (2 * openings, *child))
    if row.ended_at is None:
        return Delivered(reception=Reception.DELIVERED)
    cancels = f"SELECT 1 FROM child WHERE x = ? AND id = ? AND {_ENDS_WITH_IT}"  # noqa: S608 - our own words
    if at <= row.ended_at and s.db.execute(cancels, child).fetchone():
        outbox.post(s, row.p, _cancelled(row, asked.name))
    return Delivered(reception=Reception.TERMINAL, parcels=s.harvest()[0])


def _reopening(payload: bytes) -> tuple[int, int, int, str]:
    openings, at, run, policy = payload.decode().split(" ")
    return int(openings), int(at), int(run), policy


def tell_parent(s: Session, row: Row) -> None:
    """It was opened again, and its parent takes it for ended: it is to cancel it at its own end, all the same."""
    if row.parent and not row.parent.startswith("@"):
        about = f"{row.openings} {s.now} {row.parent_run} {row.parent_close}".encode()
        request = f"reopened:{row.id}:{row.openings}"
        outbox.post(s, row.p, Outgoing(target=row.parent, request=request, kind="reopened", name=row.id, payload=about))


def forget_ended(s: Session, row: Row) -> None:
    """A run is over: only those that go on are of interest to the next."""
    s.db.execute("DELETE FROM child WHERE x = ? AND phase % 2 = 1", (row.x,))


def children(s: Session, id: str) -> tuple[ChildLink, ...]:
    """The children, by id."""
    found = s.db.execute(
        "SELECT id, policy, phase % 2 FROM child WHERE x = (SELECT x FROM execution WHERE ns = ? AND id = ?) ORDER BY id",
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
