"""Shows the execution as it goes: a live table on a terminal, one line for each change elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

from kill_and_resume.ledger import Ledger, Line
from kill_and_resume.process import Child

IDS = ("reserve", "charge", "approval", "cool-off", "ship")
STYLES = {"to come": "dim", "running": "yellow", "waiting": "cyan", "cut off": "bold red", "recorded": "green"}


@dataclass(frozen=True)
class Row:
    """One step or wait: where it stands, and how often its body was called (a wait has none)."""

    id: str
    state: str
    calls: int

    def __str__(self) -> str:
        called = f"called {self.calls}x" if self.calls else ""
        return f"  {self.id:<10}{self.state:<10}{called}".rstrip()


class Board:
    """What the child reports (the store) beside what the ledger says (the world)."""

    def __init__(self, console: Console, ledger: Ledger) -> None:
        self._console = console
        self._ledger = ledger
        self._rows: dict[str, Row] = {}
        self._calls: dict[str, list[Line]] = {id: [] for id in IDS}
        self.child: Child | None = None

    def refresh(self) -> None:
        for id in IDS:
            row = self._row(id)
            if row != self._rows.get(id) and not self._console.is_terminal and row.state != "to come":
                self._console.print(str(row))
            self._rows[id] = row
        # Shown at the next refresh: the ledger is read at once, the report takes a moment, and a result that was
        # recorded before the next call should be seen before it.
        self._calls = {id: self._ledger.calls(id) for id in IDS}

    def _row(self, id: str) -> Row:
        calls = self._calls[id]
        return Row(id, self._state(id, running=bool(calls) and self._is_ours(calls[-1].pid)), len(calls))

    def _state(self, id: str, *, running: bool) -> str:
        child = self.child
        if child is None:
            return "to come"
        if child.recorded(id):
            return "recorded"
        if running:
            return "running" if child.alive else "cut off"
        return "waiting" if child.waiting(id) else self._before(id)

    def _is_ours(self, pid: int) -> bool:
        return self.child is not None and pid == self.child.pid

    def _before(self, id: str) -> str:
        """What was known of it when the child of now began."""
        return self._rows[id].state if id in self._rows else "to come"

    def table(self) -> Table:
        table = Table("step or wait", "state", "called", title="order-7", title_justify="left", min_width=40)
        for row in self._rows.values():
            table.add_row(row.id, f"[{STYLES[row.state]}]{row.state}[/]", str(row.calls or ""))
        return table


@asynccontextmanager
async def shown(board: Board, console: Console) -> AsyncGenerator[None, None]:
    """Keep the board up to date while the block runs."""
    live = Live(get_renderable=board.table, console=console, refresh_per_second=10, transient=True)
    with live if console.is_terminal else contextlib.nullcontext():
        refreshing = asyncio.create_task(_refresh(board))
        try:
            yield
        finally:
            refreshing.cancel()
            board.refresh()
    if console.is_terminal:
        console.print(board.table())


async def _refresh(board: Board) -> None:
    while True:
        board.refresh()
        await asyncio.sleep(0.1)
