"""Data goes to stdout, talk to stderr. JSON for programs, tables for people: rich on a terminal, plain otherwise."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import msgspec

from runner.cli.text import printable

#: JSON escapes the control characters of ASCII by itself; these are the others that a terminal acts upon.
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\n]")


def say(text: str) -> None:
    """Talk, to stderr."""
    click.echo(printable(text, keep="\n"), err=True)


def put(line: str) -> None:
    """Data for people, to stdout, at once: whoever reads a pipe waits for it."""
    click.echo(printable(line))


def put_text(text: str) -> None:
    """JSON that is written already, on stdout, harmless on a terminal."""
    click.echo(_UNPRINTABLE.sub(_json_escaped, text), nl=False)


def put_json(document: Any) -> None:
    """One indented JSON document, on stdout."""
    click.echo(as_json(document, indent=2))


def put_json_line(document: Any) -> None:
    """One line of JSON, on stdout, at once."""
    click.echo(as_json(document))


def as_json(document: Any, *, indent: int | None = None) -> str:
    """Any value of a workflow as JSON, harmless on a terminal; what JSON lacks is written as text."""
    plain = msgspec.to_builtins(document, str_keys=True, enc_hook=_other)
    return _UNPRINTABLE.sub(_json_escaped, json.dumps(plain, indent=indent, ensure_ascii=False))


def _other(value: Any) -> Any:
    """Values msgspec does not know: pydantic models by their own rule, anything else as it prints."""
    dump: Callable[..., Any] | None = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else str(value)


def _json_escaped(found: re.Match[str]) -> str:
    char = found[0]
    return char if char.isprintable() else json.dumps(char)[1:-1]


# -- moments and durations -----------------------------------------------------------------------------


def moment(ms: int | None) -> str | None:
    """Milliseconds since 1970 as ISO 8601, in UTC."""
    if ms is None:
        return None
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span(ms: int) -> str:
    """A duration for people."""
    if ms < 1_000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    return str(timedelta(seconds=ms // 1000))


# -- tables --------------------------------------------------------------------------------------------


def put_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout. Cells are wrapped on a terminal that is too narrow, never cut off."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _put_rich(headings, cells)
    else:
        click.echo("\n".join(_aligned([list(headings), *cells])))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _put_rich(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        # Text, not markup: brackets in data are brackets.
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
