"""The worker process: takes hints, claims executions, drives turns, performs steps."""

from runner.workers.options import WorkerOptions
from runner.workers.worker import Worker

__all__ = ["Worker", "WorkerOptions"]
