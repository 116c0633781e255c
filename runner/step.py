"""What a step body can ask about itself while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack

from runner.codec import encode, unpack_as
from runner.errors import MisplacedCall
from runner.records import Try, pack_tries, unpack_tries

#: Failed attempts of one step that are kept: the latest.
MAX_TRIES = 20


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
class StepState:
    """What is known of a step that has no result yet: kept in the details of its wait."""

    first_at: int = 0  # when its first attempt began
    tries: tuple[Try, ...] = ()  # the attempts that failed
    beat: bytes = b""  # the details of the last heartbeat, as the codec made them
    done: float | None = None  # of the last progress …
    total: float | None = None

    def failed(self, one: Try) -> StepState:
        return replace(self, tries=(*self.tries, one)[-MAX_TRIES:])

    def pack(self) -> bytes:
        return bytes(msgpack.packb((self.first_at, pack_tries(self.tries), self.beat, self.done, self.total)))

    @classmethod
    def unpack(cls, blob: bytes) -> StepState:
        if not blob:
            return cls()
        first_at, tries, beat, done, total, *_ = unpack_as(blob, "state of a step", 5)
        return cls(first_at=first_at, tries=unpack_tries(tries), beat=beat, done=done, total=total)


class Pulse:
    """The latest that a running body has said of itself; told from any thread."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self.beat: bytes | None = None
        self.progress: tuple[float, float | None] | None = None
        self._told = told

    def beats(self, details: bytes) -> None:
        self.beat = details
        self._told()

    def moves(self, done: float, total: float | None) -> None:
        self.progress = (done, total)
        self._told()


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentStep:
    """The step that is running, as its body sees it.

    ``details`` is what the last heartbeat of a former attempt said, None where none did.
    """

    execution_id: str
    workflow: str
    run: int
    id: str
    attempt: int
    details: Any = None
    cancelled: CancelToken = field(default_factory=CancelToken)
    pulse: Pulse = field(default_factory=Pulse)

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and every replay of this step in this run, and for nothing else."""
        return f"{self.execution_id}/{self.run}/{self.id}"

    def heartbeat(self, details: Any = None) -> None:
        """Say how far it is: ``details`` (anything a step may return) is what the next attempt gets, should there be one.

        Stored within about a second, the latest wins; it extends no lease and no timeout, the worker sees to those.
        Raises PayloadError for details that cannot be stored. From any thread.
        """
        self.pulse.beats(encode(details, what=f"heartbeat of step {self.id!r}"))

    def progress(self, done: float, total: float | None = None) -> None:
        """Show how much is done (of ``total``, where that is known) to whoever looks at the execution."""
        self.pulse.moves(float(done), None if total is None else float(total))


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
