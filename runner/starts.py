"""Starts: from what a caller says to what the store is asked for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

from runner.attributes import Attribute, attribute_texts
from runner.codec import decode, digest, encode, roundtrip
from runner.core.retry import Duration
from runner.durations import to_moment_ms, to_ms
from runner.errors import ConflictingStart, UsageError
from runner.ids import check_id, check_name, check_queue, id_from_key, new_id
from runner.transactions import Start, Started
from runner.workflow import Workflow

OnConflict = Literal["return", "raise"]


class StartOptions(TypedDict, total=False):
    """What every start takes beside workflow and input. See ``Client.start``."""

    id: str | None
    idempotency_key: str | None
    on_conflict: OnConflict
    timeout: Duration | None
    delay: Duration | None
    at: datetime | None
    queue: str | None
    attributes: Mapping[str, Attribute] | None


def make_start(
    workflow: Workflow[Any, Any],
    input: Any,
    *,
    id: str | None = None,
    idempotency_key: str | None = None,
    on_conflict: OnConflict = "return",
    timeout: Duration | None = None,
    delay: Duration | None = None,
    at: datetime | None = None,
    queue: str | None = None,
    attributes: Mapping[str, Attribute] | None = None,
    plain: bool = False,
) -> Start:
    """What the store is asked for. Raises UsageError or PayloadError before anything is sent.

    ``plain``: the input may be plain data (a dict for a dataclass), as from a caller without the types.
    """
    if id is not None and idempotency_key is not None:
        raise UsageError("give `id` or `idempotency_key`, not both: each makes the start repeatable")
    if delay is not None and at is not None:
        raise UsageError("give `delay` or `at`, not both")
    if on_conflict not in ("return", "raise"):
        raise UsageError(f"on_conflict={on_conflict!r}: 'return' or 'raise'")
    derived = id_from_key(workflow.name, idempotency_key) if idempotency_key is not None else new_id()
    return Start(
        id=check_id(id) if id is not None else derived,
        request=secrets.token_hex(16),
        workflow=workflow.name,
        version=workflow.version,
        queue=check_queue(queue) if queue is not None else workflow.queue,
        input=_input(workflow, input, plain=plain),
        digest=digest([workflow.name, input]),
        key=idempotency_key,
        timeout_ms=workflow.timeout_ms if timeout is None else to_ms(timeout, what="timeout"),
        delay_ms=0 if delay is None else to_ms(delay, what="delay"),
        at_ms=None if at is None else to_moment_ms(at, what="at"),
        retention_ms=workflow.retention_ms,
        attributes=tuple(sorted({**dict(workflow.attributes), **dict(attribute_texts(attributes))}.items())),
        audit=workflow.audit,
    )


def check_conflict(start: Start, started: Started, on_conflict: OnConflict) -> None:
    """Raises ConflictingStart when the id was taken by another input, or at all and that is not wanted."""
    if started.new:
        return
    what = f"idempotency key {start.key!r}" if start.key is not None else f"id {start.id!r}"
    if started.digest != start.digest:
        raise ConflictingStart(
            f"{what} of workflow {start.workflow!r} belongs to an execution of another workflow, or with another input ({start.id})",
            execution_id=start.id,
        )
    if on_conflict == "raise":
        raise ConflictingStart(
            f"{what} of workflow {start.workflow!r} is taken by execution {start.id}", execution_id=start.id
        )


def named_only(name: str, version: int, queue: str) -> Workflow[Any, Any]:
    """A workflow whose code is elsewhere: enough to start it."""

    async def elsewhere(*_: Any) -> Any:
        raise UsageError(f"the code of workflow {name!r} is not in this process")

    return Workflow(
        fn=elsewhere,
        name=check_name(name, what="workflow name"),
        version=version,
        queue=queue,
        takes_input=True,
        input_type=Any,
        output_type=Any,
    )


def _input(workflow: Workflow[Any, Any], input: Any, *, plain: bool) -> bytes:
    if not workflow.takes_input and input is not None:
        raise UsageError(f"workflow {workflow.name!r} takes no input")
    what = f"input of workflow {workflow.name!r}"
    if plain:
        input = decode(encode(input, what=what), workflow.input_type, what=what)
    payload, _ = roundtrip(input, workflow.input_type, what=what)
    return payload
