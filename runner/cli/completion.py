"""``runner completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from runner.cli.options import Command


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print the completion script of SHELL: `source <(runner completion bash)`."""
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - the choices are those click has
    click.echo(made(ctx.find_root().command, {}, "runner", "_RUNNER_COMPLETE").source())
