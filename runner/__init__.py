"""Durable workflows for Python on RabbitMQ and Redis.

Names load when they are first used: ``runner --help`` and a producer's import stay light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.app import App
    from runner.client import Client
    from runner.context import Case, Child, Context
    from runner.core.retry import Retry
    from runner.describe import Flow, Node
    from runner.errors import (
        AlreadyEnded,
        AppNotFound,
        BrokerUnavailable,
        Cancelled,
        CompensationFailed,
        ConfigError,
        ConflictingSchedule,
        ConflictingStart,
        DeterminismError,
        DuplicateId,
        ExecutionCancelled,
        ExecutionEnded,
        ExecutionFailed,
        ExecutionTimedOut,
        ForeignAwait,
        HistoryMismatch,
        InfrastructureError,
        JournalTooLarge,
        MisplacedCall,
        NoBranchMatched,
        NotRetryable,
        OperatorFailed,
        Overloaded,
        PayloadError,
        PayloadTooLarge,
        ReservedId,
        RetryLater,
        RolledBack,
        RunnerError,
        StepFailed,
        StepResultError,
        StepTimedOut,
        StoreClosed,
        StoreConflict,
        StoreUnavailable,
        UnawaitedCall,
        UndeclaredSignal,
        UnknownExecution,
        UnknownSchedule,
        UnknownStep,
        UnknownWorkflow,
        UsageError,
        WaitTimeout,
        WorkflowError,
    )
    from runner.handle import Handle, Outcome
    from runner.payload_codec import PayloadCodec
    from runner.records import Execution, Overlap, Schedule, Status
    from runner.schedules import CatchUp
    from runner.signals import Event, Signal, TimedOut
    from runner.step import CurrentStep, current_step, idempotency_key
    from runner.sync import SyncClient, SyncHandle
    from runner.workflow import Workflow

_HOMES = {
    "runner.app": "App",
    "runner.client": "Client",
    "runner.context": "Case Child Context",
    "runner.core.retry": "Retry",
    "runner.describe": "Flow Node",
    "runner.errors": (
        "AlreadyEnded AppNotFound BrokerUnavailable Cancelled CompensationFailed ConfigError "
        "ConflictingSchedule ConflictingStart "
        "DeterminismError DuplicateId ExecutionCancelled ExecutionEnded ExecutionFailed ExecutionTimedOut "
        "ForeignAwait HistoryMismatch InfrastructureError JournalTooLarge MisplacedCall NoBranchMatched "
        "NotRetryable OperatorFailed Overloaded PayloadError PayloadTooLarge ReservedId RetryLater RolledBack "
        "RunnerError StepFailed StepResultError StepTimedOut StoreClosed StoreConflict StoreUnavailable UnawaitedCall "
        "UndeclaredSignal UnknownExecution UnknownSchedule UnknownStep UnknownWorkflow UsageError WaitTimeout WorkflowError"
    ),
    "runner.handle": "Handle Outcome",
    "runner.payload_codec": "PayloadCodec",
    "runner.records": "Execution Overlap Schedule Status",
    "runner.schedules": "CatchUp",
    "runner.signals": "Event Signal TimedOut",
    "runner.step": "CurrentStep current_step idempotency_key",
    "runner.sync": "SyncClient SyncHandle",
    "runner.workflow": "Workflow",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AlreadyEnded",
    "App",
    "AppNotFound",
    "BrokerUnavailable",
    "Cancelled",
    "Case",
    "CatchUp",
    "Child",
    "Client",
    "CompensationFailed",
    "ConfigError",
    "ConflictingSchedule",
    "ConflictingStart",
    "Context",
    "CurrentStep",
    "DeterminismError",
    "DuplicateId",
    "Event",
    "Execution",
    "ExecutionCancelled",
    "ExecutionEnded",
    "ExecutionFailed",
    "ExecutionTimedOut",
    "Flow",
    "ForeignAwait",
    "Handle",
    "HistoryMismatch",
    "InfrastructureError",
    "JournalTooLarge",
    "MisplacedCall",
    "NoBranchMatched",
    "Node",
    "NotRetryable",
    "OperatorFailed",
    "Outcome",
    "Overlap",
    "Overloaded",
    "PayloadCodec",
    "PayloadError",
    "PayloadTooLarge",
    "ReservedId",
    "Retry",
    "RetryLater",
    "RolledBack",
    "RunnerError",
    "Schedule",
    "Signal",
    "Status",
    "StepFailed",
    "StepResultError",
    "StepTimedOut",
    "StoreClosed",
    "StoreConflict",
    "StoreUnavailable",
    "SyncClient",
    "SyncHandle",
    "TimedOut",
    "UnawaitedCall",
    "UndeclaredSignal",
    "UnknownExecution",
    "UnknownSchedule",
    "UnknownStep",
    "UnknownWorkflow",
    "UsageError",
    "WaitTimeout",
    "Workflow",
    "WorkflowError",
    "current_step",
    "idempotency_key",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
