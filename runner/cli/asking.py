"""Asking before what cannot be taken back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from runner.errors import UsageError

C = TypeVar("C", bound=Callable[..., Any])


def yes_option(command: C) -> C:
    return click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")(command)


def confirm(question: str, *, yes: bool) -> None:
    """Raises Abort for a no, UsageError where nobody can be asked."""
    if yes:
        return
    if not _asks():
        raise UsageError(f"{question} Nobody is here to be asked: say --yes")
    click.confirm(question, abort=True, err=True)


def _asks() -> bool:
    return sys.stdin.isatty()
