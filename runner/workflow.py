"""What an app registers: a workflow with its options."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runner.core.retry import Retry

if TYPE_CHECKING:
    from runner.context import Context

I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output


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
    attributes: tuple[tuple[str, str], ...] = ()  # that every execution begins with: name and JSON text
    audit: int = 1_000  # lines that each execution's audit trail keeps

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
