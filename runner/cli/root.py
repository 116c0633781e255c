"""The root of the command line: finds commands, and turns what ends them into an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

import click

from runner.cli.config import read_config
from runner.cli.exits import Exit, Form, exit_of, said
from runner.cli.text import printable
from runner.errors import RunnerError, UsageError

#: Where each command lives, and what `runner --help` says of it: listing them must not load them.
_COMMANDS = {
    "dev": ("runner.cli.dev:dev", "Everything in one process, on a file: for development."),
    "worker": ("runner.cli.worker:worker", "Run workflows and their steps."),
    "scheduler": ("runner.cli.scheduler:scheduler", "Turn time into work; as many as you like, one leads."),
    "start": ("runner.cli.start:start", "Start an execution."),
    "executions": ("runner.cli.executions:executions", "List, show, watch, signal, cancel and operate executions."),
    "why": ("runner.cli.why:why", "Say why an execution is where it is, and what to do about it."),
    "schedules": ("runner.cli.schedules:schedules", "Make schedules, see them, pause, trigger and backfill them."),
    "queues": ("runner.cli.queues:queues", "See what waits in the queues, and what nobody could read."),
    "workers": ("runner.cli.workers:workers", "See which workers are alive."),
    "check": ("runner.cli.check:check", "Load an app and look for mistakes, without connecting to anything."),
    "describe": ("runner.cli.describe:describe_workflow", "Show what a workflow would do, without doing any of it."),
    "fsck": ("runner.cli.fsck:fsck", "Check that everything in the store will go on, and set right what would not."),
    "doctor": ("runner.cli.doctor:doctor", "Look at store, broker, fleet and settings; say what is wrong."),
    "completion": ("runner.cli.completion:completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and loads one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in _COMMANDS.items()])


def _load_config(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is not None:
        ctx.default_map = read_config(path, commands=_COMMANDS)


def _say_version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"runner {_version()}")
        ctx.exit()


def _version() -> str:
    try:
        return version("runner-fleet")
    except PackageNotFoundError:
        return "(not installed: run from its sources)"


@click.group(
    cls=LazyGroup,
    context_settings={"auto_envvar_prefix": "RUNNER", "help_option_names": ["-h", "--help"]},
    epilog=(
        "Each option may be given on the command line, as an environment variable, or in a TOML file (--config), "
        "in this order. Exit codes: 0 ok, 1 the operation failed, 2 usage, import or configuration, "
        "3 store or broker unreachable, 4 not found, 130 interrupted."
    ),
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="RUNNER_CONFIG",
    show_envvar=True,
    is_eager=True,
    expose_value=False,
    callback=_load_config,
    help="A TOML file with defaults for options: at its top for all commands, [worker] for one.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Print the version and leave.",
)
def root() -> None:
    """Durable workflows for Python on RabbitMQ and Redis."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """The console script: runs a command and exits with its code. An expected error never shows a traceback."""
    sys.exit(_run(args))


def _run(args: Sequence[str] | None) -> int:
    words = sys.argv[1:] if args is None else list(args)
    form = Form(as_json="--json" in words)  # until the command itself has read it
    try:
        code = root.main(args=words, prog_name="runner", standalone_mode=False, obj=form)
    except click.ClickException as error:
        error.show()
        return _ended(form, UsageError.__name__, error.format_message(), error.exit_code)
    except RunnerError as error:
        click.echo("Error: " + printable(said(error), keep="\n"), err=True)
        return _ended(form, type(error).__name__, said(error), exit_of(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return _ended(form, "Interrupted", "interrupted", Exit.INTERRUPTED)
    return code if isinstance(code, int) else Exit.OK


def _ended(form: Form, code: str, error: str, exit: int) -> int:
    """With --json there is a document on stdout whatever happens; on one line, for some commands write a line at a time."""
    if form.as_json:
        from runner.cli.output import put_json_line  # noqa: PLC0415 - `runner --help` must not load what it needs

        put_json_line({"error": error, "code": code, "exit": int(exit)})
    return int(exit)
