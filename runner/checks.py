"""A check: one thing that was looked at, what it means for what is promised, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """``unread``: the server does not tell us, so a person has to look."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """``code`` is a constant dotted name that scripts may compare; ``text`` says what is, ``cure`` what to do (or nothing)."""

    code: str
    verdict: Verdict
    text: str
    cure: str = ""

    @property
    def told(self) -> str:
        """Text and cure in one line."""
        return f"{self.text}: {self.cure}" if self.cure else self.text


def ok(code: str, text: str) -> Check:
    return Check(code=code, verdict=Verdict.OK, text=text)


def warn(code: str, text: str, cure: str = "") -> Check:
    return Check(code=code, verdict=Verdict.WARN, text=text, cure=cure)


def fail(code: str, text: str, cure: str) -> Check:
    return Check(code=code, verdict=Verdict.FAIL, text=text, cure=cure)


def unread(code: str, text: str, cure: str) -> Check:
    return Check(code=code, verdict=Verdict.UNREAD, text=text, cure=cure)


def failing(checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if check.verdict is Verdict.FAIL]
