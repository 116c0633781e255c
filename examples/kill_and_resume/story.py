"""The story itself: start, kill in the middle of a step, start again, approve, and look at what came of it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from rich.console import Console

from kill_and_resume.board import Board, shown
from kill_and_resume.checks import Finding, check
from kill_and_resume.ledger import Ledger
from kill_and_resume.process import Broken, child

SUMMARY = """\
What happened, and why nothing was lost
  Every result was on disk before the next step began. So the second process took the recorded results from
  the file, and called only the step that had none: the one that was cut off.
  That step was called a second time, because nobody can know how far it had come. It asked the payment
  provider with the same idempotency key, so the money moved once. This is the one thing a step has to do itself.
  Waiting cost nothing: the approval and the cool-off are lines in the file, not a process that must stay up."""


def tell() -> int:
    """Exit code 0 when everything was as promised, 1 otherwise."""
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="runner-demo-") as folder:
        try:
            findings = asyncio.run(play(console, Path(folder)))
        except Broken as broken:
            console.print("\n[bold red]Not as promised[/]")
            console.print(str(broken), markup=False)
            return 1
    return conclude(console, findings)


async def play(console: Console, folder: Path) -> list[Finding]:
    ledger = Ledger(folder / "ledger")
    board = Board(console, ledger)
    async with shown(board, console):
        died_of = await first_life(console, board, ledger, folder)
        await asyncio.sleep(2)
        ended_with = await second_life(console, board, folder)
    result = folder / "result"
    return check(ledger, died_of=died_of, ended_with=ended_with, result=result.read_text() if result.exists() else "")


async def first_life(console: Console, board: Board, ledger: Ledger, folder: Path) -> int:
    """Until it is killed: the money has moved, and the process has not heard of it yet."""
    async with child(folder) as process:
        board.child = process
        say(console, f"A process (pid {process.pid}) runs the order workflow on one SQLite file, nothing else.")
        await process.until(lambda: process.recorded("reserve"), "step reserve is recorded")
        await process.until(lambda: ledger.count("money") == 1, "step charge has moved the money")
        await asyncio.sleep(1)
        died_of = await process.kill()
        board.refresh()
        say(console, f"kill -9 {process.pid}, in the middle of step charge: the money has moved, nothing is recorded.")
    return died_of


async def second_life(console: Console, board: Board, folder: Path) -> int:
    async with child(folder) as process:
        board.child = process
        say(console, f"The same program again (pid {process.pid}), on the same file.")
        await process.until(lambda: process.recorded("reserve"), "step reserve is still recorded")
        say(console, "It finds reserve recorded and does not call it. It calls charge, which has no result yet.")
        await process.until(lambda: process.waiting("approval"), "the workflow waits for its approval")
        await asyncio.sleep(2)
        say(console, "Now it waits for a person. Ann approves: a signal.")
        await process.tell("ann")
        await process.until(lambda: process.recorded("ship"), "step ship is recorded")
        return await process.ended()


def say(console: Console, text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def conclude(console: Console, findings: list[Finding]) -> int:
    console.print()
    for finding in findings:
        verdict = "[green]ok[/]    " if finding.holds else "[bold red]BROKEN[/]"
        console.print(f"  {verdict}  {finding.text}")
    if not all(finding.holds for finding in findings):
        return 1
    console.print(f"\n{SUMMARY}")
    return 0
