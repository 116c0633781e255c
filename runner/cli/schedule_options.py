"""The options that say what a schedule is like: those of ``Client.ensure_schedule``, by the same names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import click

from runner.cli.options import duration, instant
from runner.cli.values import read_attributes
from runner.records import Overlap, Schedule
from runner.schedules import CatchUp, ScheduleOptions

C = TypeVar("C", bound=Callable[..., Any])

#: What may be taken away again by ``update --clear``.
CLEARABLE = ("start-at", "end-at", "max-runs", "timeout")
_OF_CATCH_UP = ("all_within", "then", "window")


def definition_options(command: C) -> C:
    """When it ticks, and what becomes of its ticks. What is not said is not among the values either."""
    for add in reversed(_DEFINITION):
        command = add(command)
    return command


_DEFINITION: tuple[Callable[[Any], Any], ...] = (
    click.option("--cron", help="Five fields, such as '0 9 * * mon-fri', or @daily, @hourly …"),
    click.option("--timezone", help="Whose clocks --cron is read on, such as Europe/Berlin. Default: UTC."),
    click.option("--interval", type=duration, help="Instead of --cron: each time so much has passed, such as 15m."),
    click.option(
        "--overlap",
        type=click.Choice([str(policy) for policy in Overlap]),
        help="What a tick does while an execution of an earlier one runs. Default: allow.",
    ),
    click.option("--all-within", type=duration, help="Each tick late by at most this runs. Default: 60s."),
    click.option(
        "--then", type=click.Choice(["latest", "all", "skip"]), help="Which older ones still run. Default: latest."
    ),
    click.option("--window", type=duration, help="Ticks late by more than this never run. Default: 1h."),
    click.option("--jitter", type=duration, help="Each tick is late by up to this, always by the same. Default: 0."),
    click.option("--start-at", type=instant, help="No tick before this, such as 2027-01-01T09:00:00Z."),
    click.option("--end-at", type=instant, help="No tick after this."),
    click.option("--max-runs", type=click.IntRange(min=1), help="So many ticks start an execution, and no more."),
    click.option("--timeout", type=duration, help="Of each execution, from its start to its end."),
    click.option("--queue", help="Another queue than the workflow's."),
    click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="Of each execution."),
)


def read_options(said: Mapping[str, Any], kept: Schedule | None = None) -> ScheduleOptions:
    """What was said, as the client takes it. The part of a catch-up policy that was not said stays as it is in ``kept``."""
    given = {name: value for name, value in said.items() if value is not None and name not in _OF_CATCH_UP}
    attributes = given.pop("attributes", ())
    cleared = {name.replace("-", "_"): None for name in given.pop("clear", ())}
    catch_up = {name: said[name] for name in _OF_CATCH_UP if said.get(name) is not None}
    more = {
        **({"attributes": read_attributes(attributes)} if attributes else {}),
        **({"catch_up": CatchUp(**{**_catch_up_of(kept), **catch_up})} if catch_up else {}),
    }
    return cast("ScheduleOptions", {**given, **cleared, **more})


def _catch_up_of(kept: Schedule | None) -> dict[str, Any]:
    if kept is None:
        return {}
    return {"all_within": kept.all_within_ms / 1000, "then": kept.then, "window": kept.window_ms / 1000}
