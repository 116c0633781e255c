"""Whether today's code replays what yesterday's recorded: pure, no store, no step is called."""

from __future__ import annotations

import os
import reprlib
from pathlib import Path
from typing import Any, Final

from runner.app import App
from runner.codec import decode, roundtrip
from runner.core.branches import Raised, Returned
from runner.core.places import show
from runner.core.replay import Outcome, Replay
from runner.errors import HistoryMismatch, PayloadError
from runner.failures import said
from runner.history_file import HistoryFile, read_history
from runner.records import Execution, History, Status
from runner.testing.asked import unsteady
from runner.workers.journal import TurnJournal
from runner.workers.play import Play
from runner.workflow import Workflow

_CURE: Final = (
    "keep the old way for executions that have begun: `if ctx.patched(id): new() else: old()`, "
    "or register the new code as another version of the workflow"
)
_STEADY: Final = (
    "workflow code is not deterministic: it may not read the clock, chance or anything else from outside. "
    "Use ctx.now(), ctx.uuid(), ctx.random(), or do it in a step"
)


def assert_replays(app: App, history: History | str | os.PathLike[str]) -> None:
    """The app's code still goes the way that is recorded.

    ``history``: a file that ``runner executions history ID --json`` wrote, or what ``client.history(id)`` gives.
    Raises AssertionError with the difference when the code asks for other things than were recorded, ends otherwise,
    or asks for different things when the clock and chance are others; UsageError for what is no history file.
    """
    read = history if isinstance(history, History) else _history(read_history(Path(history).read_bytes()))
    difference = replay_difference(app, read)
    if difference is not None:
        raise AssertionError(difference)


def replay_difference(app: App, history: History) -> str | None:
    """What keeps the app's code from replaying this history, in words; None when nothing does."""
    execution = history.execution
    what = f"execution {execution.id!r} of workflow {execution.workflow!r} version {execution.version}"
    workflow = app.find(execution.workflow, execution.version)
    if workflow is None:
        return f"{what}: app {app.name!r} has no such workflow and version"
    # First, for code that reads the clock hardly ever replays its history, and that would be said to be another's.
    if difference := unsteady(app, workflow, execution, history.entries):
        return f"{what}: {difference}\n{_STEADY}"
    if difference := _diverges(app, workflow, history):
        return f"{what} is not replayed: {difference}\n{_CURE}"
    return None


def _diverges(app: App, workflow: Workflow[Any, Any], history: History) -> str | None:
    play = Play(history.execution, workflow, app.errors, app.find, lambda: None)
    try:
        play.begin(TurnJournal(history))
        match play.replay.outcome:
            case Raised(HistoryMismatch() as error):
                return said(error)
            case _:
                return _ends(history.execution, workflow, play.replay)
    finally:
        play.close()


def _ends(execution: Execution, workflow: Workflow[Any, Any], replay: Replay) -> str | None:
    """How the end differs from the recorded one. Ends that time, an operator or a crash brought about say nothing."""
    match execution.status, replay.outcome:
        case Status.COMPLETED, None:
            return f"it completed; the code goes on, and asks for {_open(replay)}"
        case Status.COMPLETED, outcome:
            return _result_differs(execution, workflow, outcome)
        case Status.FAILED, Returned() if not execution.cause and not execution.rollback:
            return "it failed; the code completes"
        case _:
            return None


def _result_differs(execution: Execution, workflow: Workflow[Any, Any], outcome: Outcome | None) -> str | None:
    recorded = execution.result or b""
    if not isinstance(outcome, Returned):
        return f"it completed; the code ends with {outcome}"
    try:
        payload, _ = roundtrip(outcome.value, workflow.output_type, what="result")
    except PayloadError as error:
        return f"it completed; what the code returns cannot be stored: {error}"
    if payload == recorded:
        return None
    return f"it returned {reprlib.repr(decode(recorded))}; the code returns {reprlib.repr(outcome.value)}"


def _open(replay: Replay) -> str:
    asked = [f"{one.command.kind} {one.id!r} at {show(one.command.where)}" for one in replay.open.values()]
    return ", ".join(asked[:3]) or "nothing"


def _history(file: HistoryFile) -> History:
    return History(execution=file.execution, entries=file.entries, waits=(), inbox=(), now=file.execution.created_at)
