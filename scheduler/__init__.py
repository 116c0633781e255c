"""The scheduler: one leads, the others stand by. It turns time into hints."""

from runner.scheduler.scheduler import Scheduler, SchedulerOptions

__all__ = ["Scheduler", "SchedulerOptions"]
