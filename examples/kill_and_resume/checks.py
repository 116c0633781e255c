"""What must be true afterwards, judged by the ledger: the only witness that is no part of the system."""

from __future__ import annotations

from dataclasses import dataclass
from signal import SIGKILL

from kill_and_resume.ledger import Ledger

RESULT = "parcel from shelf-7, receipt-4200, approved by ann"


@dataclass(frozen=True)
class Finding:
    text: str
    holds: bool


def check(ledger: Ledger, *, died_of: int, ended_with: int, result: str) -> list[Finding]:
    charges = ledger.calls("charge")
    processes = {one.pid for one in charges}
    return [
        Finding("the first process was killed, the second ended by itself", (died_of, ended_with) == (-SIGKILL, 0)),
        Finding("reserve was recorded before the kill: called once in all", len(ledger.calls("reserve")) == 1),
        Finding("charge was cut off: called once by each process", len(processes) == len(charges) == 2),
        Finding("both calls carried the same idempotency key", len({one.key for one in charges}) == 1),
        Finding("the money moved once", ledger.count("money") == 1),
        Finding("ship was called once, one parcel left", len(ledger.calls("ship")) == ledger.count("parcel") == 1),
        Finding(f"the workflow returned: {result}", result == RESULT),
    ]
