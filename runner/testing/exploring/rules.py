"""What must hold after every run, whatever went wrong in it."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from runner.codec import encode
from runner.errors import PayloadError
from runner.records import Status
from runner.testing.calls import Call
from runner.testing.endings import Ending
from runner.testing.exploring.cases import Case
from runner.testing.ledger import Ledger

#: The user's own rule: raises AssertionError, or returns False, where it does not hold. It may be async.
Check = Callable[[Ending], object] | Callable[[Ending], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that does not hold: which one, what is wrong, and the line of a test that says so."""

    rule: str
    text: str
    code: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to, to be compared with another's."""

    status: Status
    error: str
    result: bytes
    shown: str

    @classmethod
    def of(cls, ending: Ending) -> Outcome:
        error = "" if ending.error is None else type(ending.error).__name__
        return cls(ending.status, error, ending.execution.result or b"", repr(ending.result))

    def __str__(self) -> str:
        return f"{self.status} ({self.error or reprlib.repr(self.shown)})"


def broken_by(ending: Ending, case: Case, expected: Outcome | None, ledger: Ledger | None) -> Broken | None:
    """The first of the kit's own rules that does not hold. ``expected``: what it comes to without the last fault."""
    rules = (
        _goes_on(ending),
        _same_arguments(ending.env.calls()),
        _undone(ending, case),
        _posted(ending, ledger),
        _same_outcome(ending, case, expected),
    )
    return next((broken for broken in rules if broken is not None), None)


def steady(difference: str | None) -> Broken | None:
    """``difference``: between two replays of what the run recorded."""
    if difference is None:
        return None
    return Broken("steady", difference, "assert_replays(app, await env.client.history(handle.id))")


async def checked(check: Check, ending: Ending) -> Broken | None:
    """The user's rule."""
    said: Any = None
    awaited = inspect.iscoroutinefunction(check)
    try:
        said = check(ending)
        said = await said if inspect.isawaitable(said) else said
    except AssertionError as error:
        return Broken("check", str(error) or "the check does not hold", f"{'await ' if awaited else ''}check(ending)")
    if said is False:
        return Broken("check", "the check does not hold", f"assert {'await ' if awaited else ''}check(ending)")
    return None


def _goes_on(ending: Ending) -> Broken | None:
    """No worker has refused to go on with it."""
    passed = ending.execution.passed
    return Broken("goes on", passed, "assert not ending.execution.passed, ending.execution.passed") if passed else None


def _same_arguments(calls: Iterable[Call]) -> Broken | None:
    """Who is called again under one key is asked for the same: the outside would take it for a repeat."""
    first: dict[str, Call] = {}
    for call in calls:
        former = first.setdefault(call.idempotency_key, call)
        if _arguments(former) != _arguments(call):
            shown = f"first with {reprlib.repr(former.args)}, then with {reprlib.repr(call.args)}"
            return Broken(
                "same arguments",
                f"step {call.step!r} was called under one idempotency key with different arguments: {shown}",
                f"assert len({{repr(call.args) for call in env.calls({call.step!r})}}) == 1",
            )
    return None


def _arguments(call: Call) -> bytes:
    try:
        return encode([list(call.args), dict(call.kwargs)])
    except PayloadError:  # nothing that could be compared
        return b""


def _undone(ending: Ending, case: Case) -> Broken | None:
    """No compensation fails that was not made to."""
    meant = any(fault.what == "fail" and fault.where.startswith("rollback:") for fault in case.faults)
    if ending.status is not Status.COMPENSATION_FAILED or meant:
        return None
    return Broken(
        "undone",
        f"a compensation failed: {ending.error}",
        'assert ending.status != "compensation_failed", ending.error',
    )


def _posted(ending: Ending, ledger: Ledger | None) -> Broken | None:
    """The ledger's rules: no effect twice, and none left where the execution came to nothing."""
    if ledger is None:
        return None
    if ledger.repeated:
        text = f"step {ledger.repeated[0]!r} had its effect twice: give the outside its idempotency_key()"
        return Broken("once", text, "assert not ledger.repeated")
    if ending.status in (Status.FAILED, Status.CANCELLED) and ledger.outstanding:
        left = ", ".join(f"{account!r} stands at {balance:g}" for account, balance in ledger.outstanding.items())
        text = f"it ended {ending.status}, and what it had done was not undone: {left}"
        return Broken("nothing left", text, "assert not ledger.outstanding")
    return None


def _same_outcome(ending: Ending, case: Case, expected: Outcome | None) -> Broken | None:
    if expected is None or not case.hidden:
        return None
    came = Outcome.of(ending)
    if (came.status, came.error) != (expected.status, expected.error):
        text = f"it is {came}; without the fault it is {expected}"
        return Broken("same end", text, f"assert ending.status == {str(expected.status)!r}, ending.error")
    if case.exact and came.result != expected.result:
        text = f"it returns {came.shown}; without the fault {expected.shown}"
        return Broken("same result", text, f"assert repr(ending.result) == {expected.shown!r}")
    return None
