"""``runner.toml``: defaults for options, from click's own chain: flag > environment > file > default."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

#: What may stand at the top of the file, for every command that has such an option.
COMMON = (
    "app",
    "app_dir",
    "namespace",
    "store",
    "broker",
    "durability",
    "allow_eviction",
    "management",
    "log_level",
    "log_format",
)


def read_config(path: Path, *, commands: Iterable[str]) -> dict[str, Any]:
    """The file as click's default map. Raises UsageError for a file that is no TOML, or a name nothing knows."""
    try:
        values = _underscored(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: {error}") from None
    known = [*COMMON, *commands]
    for name in values:
        if name not in known:
            raise click.UsageError(f"{path}: nothing is called {name!r}{nearest(name, known)}")
    return values


def defaults_for(command: click.Command, root: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says for one command: its own table over what stands at the top.

    Raises UsageError for a name in its table that is none of its options.
    """
    options = [param.name for param in command.params if isinstance(param, click.Option) and param.name]
    for name in own:
        if name not in options:
            raise click.UsageError(f"configuration: {command.name} has no option {name!r}{nearest(name, options)}")
    return {**{name: root[name] for name in COMMON if name in root and name in options}, **own}


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for whoever mistyped; empty when nothing is like it."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _underscored(table: Mapping[str, Any]) -> dict[str, Any]:
    """``app-dir`` and ``app_dir`` are the same name, at every depth."""
    return {
        name.replace("-", "_"): _underscored(value) if isinstance(value, dict) else value
        for name, value in table.items()
    }
