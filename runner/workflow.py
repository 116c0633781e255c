"""What an app registers: workflows and the options of its steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runner.core.retry import ONCE, Retry

if TYPE_CHECKING:
    from runner.context import Context

I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output

_STEP = "__runner_step__"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workflow(Generic[I, O]):
    """A registered workflow. Still callable as the function it was made from (in unit tests)."""

    fn: Callable[..., Awaitable[O]]
    name: str
    version: int
    queue: str
    takes_input: bool
    input_type: Any
    output_type: Any
    category: str | None = None
    signals: Mapping[str, Any] | None = None  # payload types by name; None: any signal
    defaults: Any = None
    timeout_ms: int | None = None
    max_attempts: int = 3
    retry: Retry = field(default_factory=Retry)
    retention_ms: int = 7 * 24 * 3600 * 1000

    def __call__(self, ctx: Context, *args: Any) -> Awaitable[O]:
        return self.fn(ctx, *args)

    def start(self, ctx: Context, *args: Any) -> Coroutine[Any, Any, O]:
        """The coroutine of one replay."""
        coroutine: Any = self.fn(ctx, *args)
        return coroutine  # type: ignore[no-any-return]

    def takes(self, signal: str) -> bool:
        return self.signals is None or signal in self.signals

    def payload_type(self, signal: str) -> Any:
        """The declared type of a signal's payload; Any when it is not declared."""
        return (self.signals or {}).get(signal, Any)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What ``@app.step`` says about a function; ``.options()`` at the call overrides it."""

    retry: Retry = ONCE
    timeout_ms: int | None = None


def mark_step(fn: Callable[..., Any], options: StepOptions) -> None:
    setattr(fn, _STEP, options)


def step_options(fn: Callable[..., Any]) -> StepOptions:
    """The options a callable was registered with; those of a plain callable: one attempt, no timeout."""
    found = getattr(fn, _STEP, None) or getattr(getattr(fn, "func", None), _STEP, None)
    return found if isinstance(found, StepOptions) else StepOptions()
