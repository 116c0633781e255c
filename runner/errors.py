"""Every error Runner raises, by who must act.

RunnerError
├── UsageError                  the caller: fix the call, the code or the configuration
│   ├── ConfigError             a URL, a setting, a namespace that does not fit
│   ├── AppNotFound             ``--app module:attr`` leads nowhere
│   ├── UnknownWorkflow         no such workflow is registered (or alive)
│   ├── UnknownExecution        no such execution in this namespace
│   ├── UndeclaredSignal        the workflow's contract does not list this signal
│   ├── ConflictingStart        the id or idempotency key belongs to another start
│   ├── UnknownSchedule         no such schedule in this namespace
│   ├── ConflictingSchedule     the schedule's id belongs to one of another workflow
│   ├── NotRetryable            an operator's retry of what cannot be tried again
│   ├── AlreadyEnded            … or an action on what has ended
│   ├── UnknownStep             … or on a step that the execution does not have
│   ├── MisplacedCall           a ``ctx`` call outside the workflow function
│   └── PayloadError            a value that cannot be stored, with the path inside it
│       └── PayloadTooLarge     … because of its size
├── WorkflowError               the workflow's own failure
│   ├── StepFailed              a step failed for good
│   │   ├── StepTimedOut        … because its last attempt ran over its timeout
│   │   └── StepResultError     … because its result cannot be stored
│   ├── NoBranchMatched         a switch without a case that fits, and without a default
│   ├── OperatorFailed          an operator ended the execution
│   ├── RolledBack              … or had what it had done undone
│   ├── JournalTooLarge         more recorded entries than one run may have
│   ├── DeterminismError        code that cannot be replayed
│   │   ├── DuplicateId · ReservedId · ForeignAwait · UnawaitedCall
│   │   └── HistoryMismatch     the recorded history is not what this code asks for
│   └── ExecutionEnded          an awaited execution did not complete
│       ├── ExecutionFailed · ExecutionCancelled · ExecutionTimedOut · CompensationFailed
└── InfrastructureError         the operator: a backend is away, full or refusing
    ├── BrokerUnavailable · Overloaded
    ├── StoreUnavailable        no answer in time; what was asked may have happened
    │   └── StoreClosed         … nor will there be: this store was closed
    ├── StoreConflict           the store refused a write that contradicts what it holds
    └── WaitTimeout             nothing came in the time the caller allowed (also a TimeoutError)

``Cancelled`` and ``TurnOver`` are ``BaseException``: control flow that ``except Exception`` in
user code must not swallow.
"""

from __future__ import annotations


class RunnerError(Exception):
    """Root of everything Runner raises on purpose."""


class UsageError(RunnerError):
    """The caller must act: the message names the thing and the cure."""


class ConfigError(UsageError):
    """A setting, URL or namespace does not fit."""


class AppNotFound(UsageError):
    """``--app module:attr`` could not be loaded."""


class UnknownWorkflow(UsageError):
    """No workflow of this name is registered, nor known to a live worker."""


class UnknownExecution(UsageError):
    """The store holds no execution of this id in this namespace."""


class UndeclaredSignal(UsageError):
    """The workflow declares its signals, and this is none of them."""


class ConflictingStart(UsageError):
    """The id or idempotency key is taken: by another input, or at all with ``on_conflict="raise"``."""

    def __init__(self, message: str, *, execution_id: str) -> None:
        super().__init__(message)
        self.execution_id = execution_id


class UnknownSchedule(UsageError):
    """The store holds no schedule of this id in this namespace."""


class ConflictingSchedule(UsageError):
    """The id is that of a schedule of another workflow."""


class NotRetryable(UsageError):
    """An operator asked to try again what cannot be: the message says the status and what can be done instead."""


class AlreadyEnded(UsageError):
    """An operator's action needs an execution that is under way, and this one has ended."""


class UnknownStep(UsageError):
    """The execution has no step of this id in a state that the action needs; the message names the steps there are."""


class MisplacedCall(UsageError):
    """A ``ctx`` call was made where no workflow code runs (inside a step, after the turn)."""


class PayloadError(UsageError):
    """A value cannot travel. ``path`` says where inside the value, e.g. ``input.items[3].price``."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class PayloadTooLarge(PayloadError):
    """A value is over the size limit."""


class WorkflowError(RunnerError):
    """The workflow's own failure."""


class StepFailed(WorkflowError):
    """A step failed for good: the same object, field by field, live and replayed."""

    def __init__(self, *, step: str, type: str, message: str, attempts: int, bases: tuple[str, ...] = ()) -> None:
        super().__init__(f"step {step!r} failed after {attempts} attempt(s): {type}: {message}")
        self.step = step
        self.type = type
        self.message = message
        self.attempts = attempts
        self._bases = bases

    def matches(self, cls: type[BaseException]) -> bool:
        """True when the original error was ``cls`` or a subclass of it (compared by qualified name)."""
        return qualified_name(cls) in self._bases


class StepTimedOut(StepFailed):
    """The last attempt ran over the step's timeout."""


class StepResultError(StepFailed):
    """The step's result does not survive the codec: names step, type and cure."""


class NoBranchMatched(WorkflowError):
    """No case of a switch fits its value, and it has no default."""


class OperatorFailed(WorkflowError):
    """An operator ended the execution; the message is the operator's reason."""


class RolledBack(WorkflowError):
    """How an execution ends whose outstanding compensations an operator had run."""


class JournalTooLarge(WorkflowError):
    """The run has recorded as much as one run may: every replay reads all of it."""


class Poisoned(WorkflowError):
    """The execution cost one worker after the other, or broke one turn after the other, and was given up."""


class DeterminismError(WorkflowError):
    """Workflow code did something that a replay cannot repeat."""


class DuplicateId(DeterminismError):
    """Two calls of one run carry the same id."""


class ReservedId(DeterminismError):
    """An id starts with a prefix that Runner keeps for itself."""


class ForeignAwait(DeterminismError):
    """Workflow code awaited something that is not a ``ctx`` call."""


class UnawaitedCall(DeterminismError):
    """A ``ctx`` call was built and never awaited."""


class HistoryMismatch(DeterminismError):
    """The recorded history is not what this code asks for."""


class ExecutionEnded(WorkflowError):
    """An execution that was waited for ended without a result.

    ``type`` names the class of the error that ended it, ``step`` the step whose failure it was; both empty if none was.
    """

    def __init__(
        self,
        message: str,
        *,
        execution_id: str,
        workflow: str = "",
        attempt: int = 0,
        key: str | None = None,
        type: str = "",
        step: str = "",
    ) -> None:
        super().__init__(message)
        self.execution_id = execution_id
        self.workflow = workflow
        self.attempt = attempt
        self.key = key
        self.type = type
        self.step = step


class ExecutionFailed(ExecutionEnded):
    """It failed: ``__cause__`` is the error that ended it, where its class is known here."""


class ExecutionCancelled(ExecutionEnded):
    """It was cancelled; the message holds the reason."""


class ExecutionTimedOut(ExecutionEnded):
    """Its own deadline passed."""


class CompensationFailed(ExecutionEnded):
    """A compensation failed for good: ``step`` names it. What it should have undone stays for an operator."""


class InfrastructureError(RunnerError):
    """A backend is away, full or refuses."""


class StoreUnavailable(InfrastructureError):
    """The store did not answer in time, or refused the connection. What was asked may have happened."""


class StoreClosed(StoreUnavailable):
    """This store was closed in this process: asking it again is no use. What it had not answered may have happened."""


class BrokerUnavailable(InfrastructureError):
    """The broker did not confirm in time, or refused the connection."""


class Overloaded(InfrastructureError):
    """The store is full: new work is refused, running work goes on."""


class StoreConflict(InfrastructureError):
    """The store refused a write that contradicts what it holds; nothing was written."""


class WaitTimeout(InfrastructureError, TimeoutError):
    """Nothing came in the time allowed; the execution goes on."""

    def __init__(
        self, message: str, *, execution_id: str, workflow: str = "", attempt: int = 0, key: str | None = None
    ) -> None:
        super().__init__(message)
        self.execution_id = execution_id
        self.workflow = workflow
        self.attempt = attempt
        self.key = key


class Cancelled(BaseException):
    """The execution was cancelled: raised once in every open await of the workflow."""


class TurnOver(BaseException):
    """The turn has ended and the code is being closed: no ``ctx`` call does anything any more."""


class RetryLater(Exception):
    """Raised inside a step: try again after ``delay`` (timedelta or seconds); counts as an attempt."""

    def __init__(self, delay: object, reason: str = "") -> None:
        super().__init__(reason or f"retry after {delay}")
        self.delay = delay


def qualified_name(cls: type[BaseException]) -> str:
    """``module.Class``, or the bare name for a builtin."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
