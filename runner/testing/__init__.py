"""Tests of your workflows: the real thing in memory, with time that skips, stubs, crashes and replays.

``TestEnv`` runs an app; ``explore`` puts a fault at every durable point of one of its workflows; ``assert_replays`` keeps
old executions working with new code. With pytest there is a fixture, ``runner_env``.
"""

from runner.testing.calls import Call
from runner.testing.endings import Ending, Stuck
from runner.testing.env import TestEnv
from runner.testing.faults import InjectedFailure, When

__all__ = ["Call", "Ending", "InjectedFailure", "Stuck", "TestEnv", "When"]
