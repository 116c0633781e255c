"""A store that went back in time says so in the log, whatever becomes of the claim that found it out."""

from __future__ import annotations

from collections.abc import Iterable

from runner.log import Logger
from runner.records import AuditEntry

log = Logger("runner.store")


def say_rewound(rows: Iterable[AuditEntry]) -> None:
    """One line for each row that tells of a record behind its hint."""
    for row in rows:
        if row.kind == "rewound":
            log.error("store.rewound", execution_id=row.execution_id, **row.fields)
