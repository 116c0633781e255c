"""``runner queues dead-letters|replay|discard``: what nobody could read, given back or thrown away."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from runner.broker import DeadLetter, Replayed
from runner.cli.asking import confirm, yes_option
from runner.cli.backends import file_of
from runner.cli.options import Command, json_option
from runner.cli.output import put_json, put_table, say
from runner.cli.target import Target, connected, for_target
from runner.cli.text import shortened
from runner.errors import ConfigError, UsageError
from runner.store.vitals import LOOKING

_BODY_WIDTH = 60


@click.command("dead-letters", cls=Command)
@for_target
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def dead_letters(*, target: Target, limit: int, as_json: bool) -> None:
    """Look at the messages that nobody could read, or that the broker gave up on; they stay where they are."""
    letters, orphans = asyncio.run(_letters(target, limit))
    if as_json:
        put_json({"dead_letters": [_document(letter) for letter in letters], "orphans": orphans})
    else:
        _put(letters)


@click.command("replay", cls=Command)
@for_target
@click.option("--limit", type=click.IntRange(1, 100_000), default=1_000, show_default=True)
@json_option
def replay(*, target: Target, limit: int, as_json: bool) -> None:
    """Give dead letters back to the queues they came from; what no queue could use stays where it is, and is told with why.

    Those are hints, and events whose subscriber is still there: once what made it fail is mended.
    """
    replayed = asyncio.run(_replayed(target, limit))
    if as_json:
        put_json({"replayed": replayed.given_back, "kept": [_document(letter) for letter in replayed.kept]})
        return
    if replayed.kept:
        _put(replayed.kept)
    say(f"{replayed.given_back} dead letters went back to their queues, {len(replayed.kept)} stay.")
    if replayed.kept:
        say("`runner queues discard --unusable` throws away what no queue could use.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """Which dead letters are meant: those that all of it holds for."""

    unusable: bool
    queue: str | None
    reason: str | None

    def __call__(self, letter: DeadLetter) -> bool:
        return (
            (bool(letter.no_use) or not self.unusable)
            and self.queue in (None, letter.queue)
            and (self.reason or "") in letter.reason
        )


@click.command("discard", cls=Command)
@for_target
@click.option("--unusable", is_flag=True, help="Only what `replay` would leave, for no queue could use it.")
@click.option("--queue", help="Only what came from this queue (of a subscriber: on:<name>).")
@click.option("--reason", metavar="TEXT", help="Only those with this in their reason.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1_000, show_default=True, help="Look at so many.")
@yes_option
@json_option
def discard(
    *, target: Target, unusable: bool, queue: str | None, reason: str | None, limit: int, yes: bool, as_json: bool
) -> None:
    """Throw away dead letters for good: those that everything holds for that is said of them; they are printed.

    A hint that is thrown away is sent again from the store; an event is lost to its subscriber.
    """
    if not (unusable or queue or reason):
        raise UsageError("which dead letters? Say --unusable, --queue or --reason")
    gone = asyncio.run(_discarded(target, _Choice(unusable=unusable, queue=queue, reason=reason), limit, yes=yes))
    if as_json:
        put_json({"discarded": [_document(letter) for letter in gone]})
    else:
        _put(gone)
    say(f"{len(gone)} dead letters were thrown away.")


async def _letters(target: Target, limit: int) -> tuple[list[DeadLetter], int]:
    async with connected(with_broker(target), publishing=True) as client:
        return await client.broker.dead_letters(limit), await client.broker.orphans()


async def _replayed(target: Target, limit: int) -> Replayed:
    async with connected(with_broker(target), publishing=True) as client:
        return await client.broker.replay(limit)


async def _discarded(
    target: Target, choice: Callable[[DeadLetter], bool], limit: int, *, yes: bool
) -> list[DeadLetter]:
    """Looked at first, so that the question says how many."""
    async with connected(with_broker(target), publishing=True) as client:
        letters = await client.broker.dead_letters(limit)
        chosen = sum(map(choice, letters))
        if not chosen:
            return []
        confirm(f"Throw away {chosen} of {len(letters)} dead letters for good?", yes=yes)
        return await client.broker.discard(limit, choice)


def with_broker(target: Target) -> Target:
    """Of the store nothing is changed. Raises ConfigError for `runner dev`, whose queues are memory of its process."""
    if file_of(target.store) is not None:
        raise ConfigError("`runner dev` keeps its queues in memory; this is for a broker that is a server of its own")
    return replace(target, demands=LOOKING)


def _put(letters: Sequence[DeadLetter]) -> None:
    rows = [(one.queue, one.reason, one.no_use, shortened(repr(one.body), _BODY_WIDTH)) for one in letters]
    put_table(("queue", "reason", "of no use because", "body"), rows)


def _document(letter: DeadLetter) -> dict[str, Any]:
    body = base64.b64encode(letter.body).decode()
    return {"queue": letter.queue, "reason": letter.reason, "no_use": letter.no_use or None, "body": body}


DEAD_LETTERS = (dead_letters, replay, discard)
