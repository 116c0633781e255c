"""The calls of step bodies that a test can ask about."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.codec import decode
from runner.core.commands import Step
from runner.step import CurrentStep

#: A step as a test names it: by its function, or by its id.
Named = Callable[..., Any] | str


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One call of a step's body. ``error`` is what it raised, if it did."""

    execution_id: str
    workflow: str
    step: str  # its id
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    attempt: int = 1
    retried: bool = False  # its policy tries again when the first attempt fails
    idempotency_key: str = ""
    error: BaseException | None = None
    _payload: bytes | None = None
    _returns: Any = None

    @property
    def ended(self) -> bool:
        """False while it runs, and for ever when its worker died meanwhile."""
        return self._payload is not None or self.error is not None

    @property
    def result(self) -> Any:
        """What it returned, as the workflow got it; None where it returned nothing, raised, or never came to its end."""
        return None if self._payload is None else decode(self._payload, self._returns, what=f"step {self.step!r}")

    def returned(self, payload: bytes, returns: Any) -> None:
        """It has come to a good end."""
        self._payload, self._returns = payload, returns

    @classmethod
    def of(cls, command: Step, step: CurrentStep) -> Call:
        return cls(
            execution_id=step.execution_id,
            workflow=step.workflow,
            step=step.id,
            fn=command.fn,
            args=command.args,
            kwargs=command.kwargs,
            attempt=step.attempt,
            retried=command.retry.retries(Exception(), 1),
            idempotency_key=step.idempotency_key,
        )


def names(named: Named, id: str, fn: Callable[..., Any] | None = None) -> bool:
    """True when the test means the step ``id`` with the body ``fn``.

    An id also matches where it is the last part of one from inside a ``ctx.map``: ``charge`` is ``fan[3]/charge``.
    """
    if isinstance(named, str):
        return id == named or id.endswith(f"/{named}")
    return fn is not None and (fn == named or _inner(fn) == named)


def _inner(fn: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn
