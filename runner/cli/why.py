"""``runner why``: what an execution waits for, and what is wrong if something is."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from runner.broker import Broker
from runner.broker.factory import open_broker
from runner.cli.backends import file_of
from runner.cli.options import Command, json_option
from runner.cli.output import moment, put, put_json, span
from runner.cli.target import Target, connected, for_target
from runner.ids import check_id
from runner.why import Reason, ReasonCode, Why
from runner.why.gather import Asking


def _codes() -> str:
    width = max(map(len, ReasonCode))
    lines = (f"{code.value.ljust(width)}  {code.meaning}" for code in ReasonCode)
    return "Codes of reasons, which do not change:\n\n\b\n" + "\n".join(lines)


@click.command("why", cls=Command, epilog=_codes())
@click.argument("id")
@for_target
@json_option
def why(*, id: str, target: Target, as_json: bool) -> None:
    """Say why an execution is where it is: what it waits for, since when, what ends that, and what is wrong, if anything.

    Store and broker are asked; a broker that does not answer is one of the reasons. Nothing is changed.
    """
    found = asyncio.run(_why(target, id))
    if as_json:
        put_json(why_document(found))
    else:
        for line in why_lines(found):
            put(line)


async def _why(target: Target, id: str) -> Why:
    async with connected(target, publishing=False) as client:
        broker = _broker(target)
        try:
            in_one = file_of(target.store) is not None
            found = await Asking(client.app, client.store, broker, in_one=in_one).why(check_id(id))
        finally:
            if broker is not None:
                await broker.close()
        if found is None:
            raise client.unknown(id)
        return found


def _broker(target: Target) -> Broker | None:
    """Not connected yet, for it may be away. None where it is not told of, or is memory of another process."""
    if target.broker is None or file_of(target.store) is not None:
        return None
    return open_broker(target.broker, namespace=target.namespace)


def why_document(why: Why) -> dict[str, Any]:
    return {
        "execution_id": why.execution_id,
        "status": why.status,
        "summary": why.summary,
        "now": moment(why.now),
        "reasons": [
            {
                "code": reason.code,
                "text": reason.text,
                "since": moment(reason.since),
                "until": moment(reason.until),
                "cure": reason.cure or None,
                "data": dict(reason.data),
            }
            for reason in why.reasons
        ],
    }


def why_lines(why: Why) -> list[str]:
    """For people: the summary, then each reason with its times and what to type."""
    lines = [f"{why.execution_id}: {why.summary}"]
    for reason in why.reasons:
        lines.append(f"- {reason.text} [{reason.code}]")
        times = _times(reason, why.now)
        lines += [f"    {one}" for one in (times, reason.cure and f"do: {reason.cure}") if one]
    return lines


def _times(reason: Reason, now: int) -> str:
    told: list[str] = []
    if reason.since is not None:
        told.append(f"since {moment(reason.since)} ({_relative(reason.since, now)})")
    if reason.until is not None:
        told.append(f"until {moment(reason.until)} ({_relative(reason.until, now)})")
    return ", ".join(told)


def _relative(at: int, now: int) -> str:
    return f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"
