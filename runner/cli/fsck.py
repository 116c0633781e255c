"""``runner fsck``: is everything in its place, and will everything go on? Sets it right when asked to."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import click

from runner.cli.asking import confirm, yes_option
from runner.cli.exits import Exit
from runner.cli.options import Command, json_option
from runner.cli.output import put_json, put_table, say
from runner.cli.target import Target, connected, for_target
from runner.cli.visitor import DoorStore
from runner.fsck import FsckReport

#: Steps of the progress bar.
_STEPS = 1_000


@click.command("fsck", cls=Command)
@for_target
@click.option("--repair", is_flag=True, help="Set right what is found; a row in the audit trail says what was done.")
@yes_option
@json_option
@click.pass_context
def fsck(ctx: click.Context, *, target: Target, repair: bool, yes: bool, as_json: bool) -> None:
    """Check that something moves every execution on, that indexes say what records say, and that nothing is left over.

    Everything may go on running meanwhile. Ends with 1 when something was found and not set right.
    """
    if repair:
        confirm("Set right what is found in the store?", yes=yes)
    with _progress(shown=sys.stderr.isatty() and not as_json) as progress:
        report = asyncio.run(_checked(target, progress, repair=repair))
    if as_json:
        put_json(_document(report))
    else:
        _put(report, repaired=repair)
    ctx.exit(Exit.FAILED if _left(report, repaired=repair) else Exit.OK)


async def _checked(target: Target, progress: Callable[[float], None], *, repair: bool) -> FsckReport:
    async with connected(target, publishing=repair) as client:
        if isinstance(client.store, DoorStore):
            return await client.store.fsck(repair)
        return await client.fsck(repair, progress=progress)


@contextmanager
def _progress(*, shown: bool) -> Generator[Callable[[float], None]]:
    if not shown:
        yield lambda _: None
        return
    with click.progressbar(length=_STEPS, label="Checking", file=sys.stderr) as bar:
        yield lambda share: bar.update(max(int(share * _STEPS) - bar.pos, 0))


def _left(report: FsckReport, *, repaired: bool) -> bool:
    """Whether something is still wrong."""
    if not repaired:
        return not report.clean
    return any(not finding.repairable for finding in report.findings)


def _document(report: FsckReport) -> dict[str, object]:
    return {
        "executions": report.executions,
        "clean": report.clean,
        "counts": report.counts,
        "repaired": report.repaired,
        "findings": report.findings,
    }


def _put(report: FsckReport, *, repaired: bool) -> None:
    if report.findings:
        put_table(("finding", "what is wrong"), [(one.code, one.text) for one in report.findings])
    count = sum(report.counts.values())
    if count > len(report.findings):
        say(f"… and {count - len(report.findings)} more.")
    say(f"{report.executions} executions looked at, {count} findings, {report.repaired} set right.")
    if not repaired and any(one.repairable for one in report.findings):
        say("`runner fsck --repair` sets right what can be.")
