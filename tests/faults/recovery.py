"""How long it took after a worker's death until others had what it held. Pure.

From the audit trails, by the store's clock: a claim says who has an execution from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from runner.records import AuditEntry
from tests.e2e.ledger import Line

#: What a killed worker held must be somebody's this long after its lease ran out at the latest, 99 times of 100.
BEYOND_LEASE_S = 2.0
OWNED = ("running", "cancelling")


def recoveries(lines: Iterable[Line], trails: Mapping[str, Sequence[AuditEntry]], ahead_s: float) -> list[float]:
    """Seconds from each SIGKILL of a worker to the next claim, for each execution that it held; shortest first.

    ``ahead_s``: how far the ledger's clock is ahead of the store's.
    """
    killed = [(line["name"], line["at"] - ahead_s) for line in lines if _is_kill(line)]
    found = [_recovered(trail, worker, at) for worker, at in killed for trail in trails.values()]
    return sorted(seconds for seconds in found if seconds is not None)


def _is_kill(line: Line) -> bool:
    return line["kind"] == "ended" and (line["role"], line["how"]) == ("worker", "SIGKILL")


def _recovered(trail: Sequence[AuditEntry], worker: str, at: float) -> float | None:
    """None when the worker did not hold it, or nobody had to take it."""
    before = [row for row in trail if row.kind == "status" and row.at / 1000 <= at]
    if not before or before[-1].fields["to"] not in OWNED or before[-1].fields.get("worker") != worker:
        return None
    claims = (row.at / 1000 for row in trail if row.at / 1000 > at and row.fields.get("to") in OWNED)
    claimed = next(claims, None)
    return None if claimed is None else claimed - at


def share(sorted_seconds: Sequence[float], part: float) -> float:
    """The value that ``part`` (0 to 1) of them do not exceed; 0 when there are none."""
    if not sorted_seconds:
        return 0.0
    return sorted_seconds[min(len(sorted_seconds) - 1, round(part * len(sorted_seconds)))]
