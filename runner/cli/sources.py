"""Where the settings of a command came from: flag > variable > file > default."""

from __future__ import annotations

import click
from click.core import ParameterSource

from runner.doctor import Setting
from runner.urls import masked

#: Options whose values hold passwords.
_SECRET = frozenset({"store", "broker", "management"})
#: What is no setting but a wish.
_WISHES = frozenset({"as_json", "yes", "set_durability", "forget_losses"})


def settings_of(ctx: click.Context) -> tuple[Setting, ...]:
    """Each option of the command that was given, from wherever, or has a default."""
    found: list[Setting] = []
    for param in ctx.command.params:
        name = param.name or ""
        value = ctx.params.get(name)
        if isinstance(param, click.Option) and value is not None and name not in _WISHES:
            shown = masked(str(value)) if name in _SECRET else str(value)
            found.append(Setting(name=name, value=shown, source=_source(ctx, param)))
    return tuple(found)


def _source(ctx: click.Context, param: click.Option) -> str:
    match ctx.get_parameter_source(param.name or ""):
        case ParameterSource.COMMANDLINE:
            return f"flag {param.opts[0]}"
        case ParameterSource.ENVIRONMENT:
            return f"variable {param.envvar}"
        case ParameterSource.DEFAULT_MAP:
            return "file"
        case _:
            return "default"
