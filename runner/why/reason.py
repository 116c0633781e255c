"""What the question "why does it not go on?" is answered with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from runner.records import Status
from runner.why.codes import ReasonCode

#: With one of these for its first reason nothing will move an execution on.
STUCK = frozenset({ReasonCode.NO_WAKE_SOURCE, ReasonCode.TIMER_MISSING, ReasonCode.RECORD_UNREADABLE})

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that keeps an execution where it is, or that is worth knowing about it.

    ``text`` is a sentence for people, and may change; ``code`` does not. ``since``, ``until``: moments of the store's
    clock, in ms; ``until`` is when time alone changes it. ``cure``: what ends it, where that can be typed a command; empty
    where nothing needs to be done. ``data`` is plain.
    """

    code: ReasonCode
    text: str
    since: int | None = None
    until: int | None = None
    cure: str = ""
    data: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """``reasons``: never empty; the first is what the execution waits for, or what is wrong. ``now``: the store's time.

    ``status`` is None where its record cannot be read.
    """

    execution_id: str
    status: Status | None
    summary: str
    reasons: tuple[Reason, ...]
    now: int

    @property
    def codes(self) -> tuple[ReasonCode, ...]:
        return tuple(reason.code for reason in self.reasons)


def assert_explained(why: Why) -> None:
    """Something moves the execution on, or it has ended. Raises AssertionError, with all that is known, otherwise."""
    if why.reasons[0].code in STUCK:
        raise AssertionError(f"{why.execution_id} is stuck in silence: {why}")


def command(*words: str) -> str:
    """A command of ours, to be copied into a shell."""
    return shlex.join(("runner", *words))
