"""The outbox: what is on its way to other executions and to the broker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from runner.store.sqlite.session import Session
from runner.transactions import Outgoing, Parcel

_POST = """
    INSERT INTO outbox (ns, p, at, target, request, kind, name, payload, run) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def post(s: Session, partition: int, going: Outgoing) -> None:
    """Put one thing into the outbox; its parcel goes into the answer."""
    o = going
    values = (s.ns, partition, s.now, o.target, o.request, o.kind, o.name, o.payload, o.run)
    place = s.db.execute(_POST, values).lastrowid
    s.parcels.append(Parcel(place=str(place), outgoing=going, partition=partition))


def relay(s: Session, partition: int, limit: int, older_than_ms: int) -> list[Parcel]:
    """The outbox, oldest first."""
    found = s.db.execute(
        "SELECT place, target, request, kind, name, payload, run FROM outbox"
        " WHERE ns = ? AND p = ? AND at <= ? ORDER BY place LIMIT ?",
        (s.ns, partition, s.now - older_than_ms, limit),
    )
    return _parcels(found, partition)


def page(s: Session, partition: int, after: str, limit: int) -> list[Parcel]:
    """The outbox behind a place."""
    found = s.db.execute(
        "SELECT place, target, request, kind, name, payload, run FROM outbox"
        " WHERE ns = ? AND p = ? AND place > ? ORDER BY place LIMIT ?",
        (s.ns, partition, int(after or 0), limit),
    )
    return _parcels(found, partition)


def _parcels(found: Iterable[Any], partition: int) -> list[Parcel]:
    return [
        Parcel(
            place=str(place),
            outgoing=Outgoing(target=target, request=request, kind=kind, name=name, payload=payload, run=run),
            partition=partition,
        )
        for place, target, request, kind, name, payload, run in found
    ]


def relayed(s: Session, partition: int, places: Sequence[str]) -> None:
    s.db.executemany(
        "DELETE FROM outbox WHERE ns = ? AND p = ? AND place = ?", [(s.ns, partition, int(place)) for place in places]
    )
