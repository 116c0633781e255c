"""Tests of your workflows: the real thing in memory, with time that skips, stubs, crashes and replays.

``TestEnv`` runs an app; ``explore`` puts a fault at every durable point of one of its workflows; ``assert_replays`` keeps
old executions working with new code. With pytest there is a fixture, ``runner_env``. Names load when they are first used:
every run of pytest imports this package with the plugin.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.testing.calls import Call
    from runner.testing.endings import Ending, Stuck
    from runner.testing.env import RunnerEnv, TestEnv
    from runner.testing.exploring import Exploration, ExplorationFailed, explore
    from runner.testing.faults import InjectedFailure, When
    from runner.testing.ledger import Ledger
    from runner.testing.replays import assert_replays

_HOMES = {
    "calls": "Call",
    "endings": "Ending Stuck",
    "env": "RunnerEnv TestEnv",
    "exploring": "Exploration ExplorationFailed explore",
    "faults": "InjectedFailure When",
    "ledger": "Ledger",
    "replays": "assert_replays",
}
_HOME = {name: f"runner.testing.{module}" for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Call",
    "Ending",
    "Exploration",
    "ExplorationFailed",
    "InjectedFailure",
    "Ledger",
    "RunnerEnv",
    "Stuck",
    "TestEnv",
    "When",
    "assert_replays",
    "explore",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'runner.testing' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
