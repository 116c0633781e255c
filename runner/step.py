"""What a step body can ask about itself while it runs."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field

from runner.errors import MisplacedCall


class CancelToken:
    """Fires when the step's result is no longer wanted: cancel, timeout, lost lease, shutdown.

    ``is_set()`` from anywhere; ``wait(timeout)`` blocks a thread (never call it on the event loop).
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """True once it has fired; False when ``timeout`` seconds passed first."""
        return self._event.wait(timeout)

    def fire(self) -> None:
        self._event.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentStep:
    """The step that is running, as its body sees it."""

    execution_id: str
    workflow: str
    run: int
    id: str
    attempt: int
    cancelled: CancelToken = field(default_factory=CancelToken)

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and every replay of this step in this run, and for nothing else."""
        return f"{self.execution_id}/{self.run}/{self.id}"


_current: ContextVar[CurrentStep] = ContextVar("runner_current_step")


def current_step() -> CurrentStep:
    """The step whose body is running. Raises MisplacedCall outside a step."""
    try:
        return _current.get()
    except LookupError:
        raise MisplacedCall("current_step() and idempotency_key() are for step bodies; no step runs here") from None


def idempotency_key() -> str:
    """The running step's key: give it to whatever must not happen twice. Raises MisplacedCall outside a step."""
    return current_step().idempotency_key


def enter(step: CurrentStep) -> None:
    """Make ``step`` the current one in this context."""
    _current.set(step)
