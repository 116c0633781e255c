"""Exit codes, and which error means which: in one place, for every command."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runner.errors import (
    AlreadyEnded,
    BrokerUnavailable,
    ConflictingSchedule,
    ConflictingStart,
    NotRetryable,
    RunnerError,
    StoreUnavailable,
    UnknownExecution,
    UnknownSchedule,
    UnknownStep,
    UnknownWorkflow,
    UsageError,
)


class Exit(IntEnum):
    """What a script may rely on."""

    OK = 0
    FAILED = 1  # the operation was carried out, or tried, and failed
    USAGE = 2  # arguments, import of the app, configuration
    UNREACHABLE = 3  # the store or the broker
    NOT_FOUND = 4  # no such execution, schedule, workflow or step
    INTERRUPTED = 130


def exit_of(error: RunnerError) -> Exit:
    """The exit code that an expected error ends a command with."""
    match error:
        case UnknownExecution() | UnknownSchedule() | UnknownWorkflow() | UnknownStep():
            return Exit.NOT_FOUND
        case ConflictingStart() | ConflictingSchedule() | NotRetryable() | AlreadyEnded():
            return Exit.FAILED
        case UsageError():
            return Exit.USAGE
        case StoreUnavailable() | BrokerUnavailable():
            return Exit.UNREACHABLE
        case _:
            return Exit.FAILED


@dataclass(slots=True)
class Form:
    """How a command was asked to tell what it finds, and so also what ends it."""

    as_json: bool = False


def said(error: RunnerError) -> str:
    """What to tell about an expected error: which backend, and what to do, when it is one that is away."""
    match error:
        case StoreUnavailable():
            return f"the store is unreachable: {error}\nIs it running, and is --store (RUNNER_STORE_URL) right?"
        case BrokerUnavailable():
            return f"the broker is unreachable: {error}\nIs it running, and is --broker (RUNNER_BROKER_URL) right?"
        case _:
            return str(error)
