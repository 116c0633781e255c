"""Options that several commands share, and the kind of command that has them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from runner import log
from runner.cli.config import defaults_for
from runner.cli.exits import Form
from runner.cli.output import say
from runner.store.crashes import MAX_CRASHES
from runner.store.demands import ALLOW_EVICTION, DURABILITY, EVICTIONS
from runner.store.vitals import DURABILITIES
from runner.urls import masked

C = TypeVar("C", bound=Callable[..., Any])

_GIVEN = "runner.given"

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])?")


class Command(click.Command):
    """A command that reads its table of the configuration file, and logs to stderr."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if parent is not None:
            root = parent.find_root().default_map or {}
            own = _table(parent.default_map or {}, info_name)
            extra["default_map"] = defaults_for(self, root, own)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        ctx.meta[_GIVEN] = dict(ctx.params)
        if isinstance(ctx.obj, Form):
            ctx.obj.as_json = bool(ctx.params.get("as_json"))  # from wherever it came
        # Commands without these options talk in plain words themselves: their logs are for what goes wrong.
        # The modules of an application may log with structlog, which has to be set up before they do.
        alone = "log_level" not in ctx.params and not ctx.params.get("app")
        level = ctx.params.pop("log_level", "warning")
        log.configure(level, json=_LOG_FORMATS[ctx.params.pop("log_format", "auto")], alone=alone)
        return super().invoke(ctx)


def arguments_of(ctx: click.Context, *, without: Collection[str]) -> list[str]:
    """The options this command was given, from wherever, as arguments that give them again."""
    given: Mapping[str, Any] = ctx.meta[_GIVEN]
    arguments: list[str] = []
    for param in ctx.command.params:
        value = given.get(param.name or "")
        if isinstance(param, click.Option) and value is not None and param.name not in without:
            arguments += [param.opts[0], ",".join(value) if isinstance(value, tuple) else str(value)]
    return arguments


def _table(parent: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    table = parent.get(name or "", {})
    if not isinstance(table, Mapping):
        raise click.UsageError(f"configuration: {name!r} is a command: write its options as a table, [{name}]")
    return table


class SecretOption(click.Option):
    """An option whose variable may also name a file, with ``_FILE`` behind it: so secrets are mounted.

    A password on the command line is warned of: `ps` shows it to everybody on the machine.
    """

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        given = super().process_value(ctx, value)
        typed = ctx.get_parameter_source(self.name or "") is click.core.ParameterSource.COMMANDLINE
        if typed and isinstance(given, str) and given != masked(given):
            say(
                f"Warning: {self.opts[0]} holds a secret, and others on this machine can read arguments: "
                f"use {self.envvar}, {self.envvar}_FILE or --config"
            )
        return given

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        given = super().resolve_envvar_value(ctx)
        path = os.environ.get(f"{self.envvar}_FILE")
        if given is not None or not path:
            return given
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise click.UsageError(f"{self.envvar}_FILE={path}: {error.strerror}", ctx) from None


def duration(value: Any) -> timedelta:
    """The type of options such as ``90``, ``1.5h``, ``2d``: seconds, unless a unit says otherwise."""
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(str(value).strip())
    if found is None:
        raise click.BadParameter(f"{value!r}: a number with one of the units ms s m h d w, such as 90s or 1.5h")
    try:
        return timedelta(seconds=float(found[1]) * _UNITS[found[2] or "s"])
    except OverflowError:
        raise click.BadParameter(f"{value!r} is too long") from None


def seconds_or_zero(value: Any) -> float:
    """As ``duration``, in seconds."""
    return duration(value).total_seconds()


def seconds(value: Any) -> float:
    """As ``duration``, in seconds, and more than none."""
    if not (found := seconds_or_zero(value)):
        raise click.BadParameter("it must be more than 0 s")
    return found


def instant(value: Any) -> datetime:
    """The type of options such as ``2027-01-01T09:00:00Z``: a moment, the same on every machine."""
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise click.BadParameter(f"{value!r}: a date and a time such as 2027-01-01T09:00:00Z") from None
    if found.utcoffset() is None:
        raise click.BadParameter(f"{value!r} has no time zone: add Z for UTC, or an offset such as +02:00")
    return found


def names(value: Any) -> tuple[str, ...]:
    """The type of options that take names with commas between them; in the configuration file also a list."""
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    found = tuple(dict.fromkeys(str(part).strip() for part in parts))
    if not all(found):
        raise click.BadParameter(f"{value!r}: names with commas between them")
    return found


def option(*flags: str, variable: str | None = None, **settings: Any) -> Callable[[C], C]:
    """A click option whose help shows its variables: RUNNER_<COMMAND>_<OPTION>, and the short ``variable``."""
    return click.option(*flags, envvar=variable, show_envvar=True, **settings)


def app_options(command: C) -> C:
    """``--app`` and ``--app-dir``, for commands that need the code."""
    return _stacked(command, _app(required=True), _app_dir)


def target_options(command: C) -> C:
    """Which executions are meant, and where they are: ``--app`` or ``--namespace``, and the backends."""
    return _stacked(command, _app(required=False), _app_dir, _namespace, backend_options)


def backend_options(command: C) -> C:
    return _stacked(command, _store, _broker, _durability, _allow_eviction)


def process_options(command: C) -> C:
    """How a process that stays tells what it does."""
    return _stacked(command, _log_level, _log_format)


def _stacked(command: C, *options: Callable[[C], C]) -> C:
    """Decorators in the order in which help shows them."""
    for add in reversed(options):
        command = add(command)
    return command


def _app(*, required: bool) -> Callable[[C], C]:
    return option(
        "--app",
        metavar="MODULE:ATTR",
        variable="RUNNER_APP",
        required=required,
        help="Where the App is: a dotted attribute or a function without arguments will do.",
    )


def _app_dir(command: C) -> C:
    return option(
        "--app-dir",
        variable="RUNNER_APP_DIR",
        type=click.Path(path_type=Path),
        help="Where the module is looked for first. Default: the current directory.",
    )(command)


def _namespace(command: C) -> C:
    return option(
        "--namespace", variable="RUNNER_NAMESPACE", help="The name of the App, for whoever does not have its code."
    )(command)


def _store(command: C) -> C:
    return option(
        "--store",
        cls=SecretOption,
        variable="RUNNER_STORE_URL",
        metavar="URL",
        help="redis://, rediss:// or sqlite:///file. RUNNER_STORE_URL_FILE may name a file that holds it.",
    )(command)


def _broker(command: C) -> C:
    return option(
        "--broker",
        cls=SecretOption,
        variable="RUNNER_BROKER_URL",
        metavar="URL",
        help="amqp:// or amqps://. RUNNER_BROKER_URL_FILE may name a file that holds it.",
    )(command)


def _durability(command: C) -> C:
    return option(
        "--durability",
        variable=DURABILITY,
        type=click.Choice(DURABILITIES),
        help="What the store must promise about acknowledged writes; the same in all processes of a namespace.",
    )(command)


def _allow_eviction(command: C) -> C:
    return option(
        "--allow-eviction",
        variable=ALLOW_EVICTION,
        type=click.Choice(EVICTIONS),
        metavar="POLICY",
        help="A maxmemory-policy of Redis to put up with; without it any but noeviction is refused.",
    )(command)


def _log_level(command: C) -> C:
    return option(
        "--log-level",
        variable="RUNNER_LOG_LEVEL",
        type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
        default="info",
        show_default=True,
    )(command)


_LOG_FORMATS = {"auto": None, "json": True, "console": False}


def _log_format(command: C) -> C:
    return option(
        "--log-format",
        variable="RUNNER_LOG_FORMAT",
        type=click.Choice(list(_LOG_FORMATS), case_sensitive=False),
        default="auto",
        show_default=True,
        help="auto: JSON unless stderr is a terminal.",
    )(command)


def max_crashes_option(command: C) -> C:
    """``--max-crashes``, for the processes that count them."""
    return option(
        "--max-crashes",
        type=click.IntRange(min=1),
        default=MAX_CRASHES,
        show_default=True,
        help="Give an execution up that lost so many workers in a row (the same for workers and schedulers).",
    )(command)


def json_option(command: C) -> C:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(command)
