"""``runner fsck``: is everything in its place, and will everything go on? Sets it right when asked to."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
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

    Everything may go on running meanwhile. Ends with 1 while something is wrong: without --repair when something was found,
    with it when something is left that only you can set right; what to do with it is said.
    """
    if repair:
        confirm("Set right what is found in the store?", yes=yes)
    with _progress(shown=sys.stderr.isatty() and not as_json) as progress:
        report = asyncio.run(_checked(target, progress, repair=repair))
    if as_json:
        put_json(_document(report))
    else:
        _put(report, repaired=repair)
    ctx.exit(Exit.FAILED if report.left else Exit.OK)


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


def _document(report: FsckReport) -> dict[str, object]:
    return {
        "executions": report.executions,
        "clean": report.clean,
        "counts": report.counts,
        "repaired": report.repaired,
        "left": report.left,
        "findings": report.findings,
    }


def _put(report: FsckReport, *, repaired: bool) -> None:
    if report.findings:
        _put_findings(report, repaired=repaired)
    count = sum(report.counts.values())
    if count > len(report.findings):
        say(f"… and {count - len(report.findings)} more.")
    looked_at, found = _counted(report.executions, "execution"), _counted(count, "finding")
    if repaired and count:
        say(f"{looked_at} looked at, {found}: {count - report.left} set right, {report.left} left.")
    else:
        say(f"{looked_at} looked at, {found}.")
    if not repaired and any(one.repairable for one in report.findings):
        say("`runner fsck --repair` sets right what can be.")
    for code, cure in _cures(report).items():
        say(f"{code}: {cure}.")


def _put_findings(report: FsckReport, *, repaired: bool) -> None:
    if not repaired:
        put_table(("finding", "what is wrong"), [(one.code, one.text) for one in report.findings])
        return
    rows = [(one.code, "set right" if one.repaired else "left", one.text) for one in report.findings]
    put_table(("finding", "now", "what was wrong"), rows)


def _cures(report: FsckReport) -> dict[str, str]:
    """What to do with what is left to people, once for all of a kind that has the same cure."""
    by_cure = {one.cure: one for one in report.findings if one.cure}
    several = Counter(one.code for one in by_cure.values())
    return {one.code if several[one.code] == 1 else f"{one.code} ({one.subject})": one.cure for one in by_cure.values()}


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
