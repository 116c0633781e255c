"""``runner schedules backfill``: how far it is, on a terminal as a bar."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from runner.cli.text import printable
from runner.scheduling import Progress


@contextmanager
def shown(id: str) -> Generator[Progress | None]:
    """What is told how many ticks of how many have started; None where nobody looks on."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        line = bar.add_task(printable(id), total=None)
        yield lambda done, total: bar.update(line, completed=done, total=total)
