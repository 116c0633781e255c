"""What a run has shown, for people and for programs: findings with their story, figures as a table or as JSON."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from tests.faults.checker import tell
from tests.faults.recovery import BEYOND_LEASE_S, share
from tests.faults.rig import Setup
from tests.faults.run import Outcome

#: Findings that are listed; one bug has many.
LISTED = 20


def story(outcome: Outcome) -> str:
    """The findings, and the ledger of the first one that is about an execution, in the order of time."""
    said = [f"{len(outcome.findings)} findings"]
    said += [f"{one.kind:<14} {one.execution}  {one.said}" for one in outcome.findings[:LISTED]]
    first = next((one for one in outcome.findings if one.execution), None)
    if first is not None:
        said.append(f"the ledger of {first.execution}:")
        tell(outcome.lines, first, said.append)
    return "\n".join(said)


def figures(outcome: Outcome, setup: Setup) -> dict[str, Any]:
    """Everything that was counted and measured, as plain data."""
    seconds = outcome.recoveries
    return {
        "seed": setup.seed,
        "executions": outcome.seen["executions"],
        "seconds": round(outcome.seconds, 1),
        "findings": [{"kind": one.kind, "execution": one.execution, "said": one.said} for one in outcome.findings],
        "seen": dict(sorted(outcome.seen.items())),
        "recovery_s": {
            "taken_over": len(seconds),
            "p50": round(share(seconds, 0.5), 2),
            "p99": round(share(seconds, 0.99), 2),
            "max": round(seconds[-1], 2) if seconds else 0.0,
            "wanted_p99": setup.lease_s + BEYOND_LEASE_S,
        },
        "processes": {
            one.what: {
                "mib": round(one.kib / 1024, 1),
                "kib_per_hour": None if one.kib_per_hour is None else round(one.kib_per_hour),
                "handles": list(one.handles),
            }
            for one in outcome.trends
            if one.kib_per_hour is not None
        },
    }


def tables(told: dict[str, Any]) -> list[Table]:
    """The figures, for a terminal."""
    recovery = told["recovery_s"]
    head = Table("figure", "value", title=f"seed {told['seed']}: {len(told['findings'])} findings")
    head.add_row("executions", str(told["executions"]))
    head.add_row("seconds", str(told["seconds"]))
    head.add_row("taken over after a kill", str(recovery["taken_over"]))
    head.add_row("recovery p50 / p99 / max", f"{recovery['p50']} / {recovery['p99']} / {recovery['max']} s")
    head.add_row("wanted p99, without other faults", f"{recovery['wanted_p99']} s")
    struck = Table("fault or consequence", "times")
    for what, count in told["seen"].items():
        struck.add_row(what, str(count))
    processes = Table("process", "MiB", "KiB/h", "least handles, at first and later")
    for what, one in told["processes"].items():
        first, last = one["handles"]
        processes.add_row(what, str(one["mib"]), str(one["kib_per_hour"]), f"{first} {last}")
    return [head, struck, processes]
