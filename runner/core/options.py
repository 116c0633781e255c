"""What ``@app.step`` says about a function, kept on the function itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.core.retry import ONCE, Retry

_STEP = "__runner_step__"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What ``@app.step`` says about a function; ``.options()`` at the call overrides it."""

    retry: Retry = ONCE
    timeout_ms: int | None = None


_PLAIN = StepOptions()


def mark_step(fn: Callable[..., Any], options: StepOptions) -> None:
    setattr(fn, _STEP, options)


def step_options(fn: Callable[..., Any]) -> StepOptions:
    """The options a callable was registered with; those of a plain callable: one attempt, no timeout."""
    found = getattr(fn, _STEP, None) or getattr(getattr(fn, "func", None), _STEP, None)
    return found if isinstance(found, StepOptions) else _PLAIN
