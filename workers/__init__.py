"""The worker process: takes hints, claims executions, drives turns, performs steps."""

from runner.workers.worker import Worker, WorkerOptions

__all__ = ["Worker", "WorkerOptions"]
