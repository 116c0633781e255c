"""Undoing: a phase of its own in the journal, latest first, each compensation once."""

from __future__ import annotations

from runner.codec import encode
from runner.core.calls import asked
from runner.core.commands import Compensation, Decision, Place
from runner.core.options import step_options
from runner.core.replay import Replay
from runner.core.undo import Scope, Undo


async def rollback(replay: Replay, scope: Scope, where: Place) -> None:
    """Undo everything outstanding within ``scope``. Where nothing is, nothing is recorded."""
    undos = replay.undos.take(scope)
    if not undos:
        return
    plan = encode([undo.step for undo in undos], what="what is to be undone")
    await asked(replay, Decision(id=None, where=where, kind="rollback", payload=plan))
    for undo in undos:
        await asked(replay, _compensation(undo, where))


def _compensation(undo: Undo, where: Place) -> Compensation:
    options = step_options(undo.fn)
    return Compensation(
        id=f"rollback:{undo.step}",
        where=where,
        fn=undo.fn,
        args=(undo.value,),
        kwargs={},
        returns=None,
        retry=options.retry,
        timeout_ms=options.timeout_ms,
        undoes=undo.step,
    )
