"""The child process as its parent sees it: what it reports, and how it is started, told and killed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from kill_and_resume.child import Report

HERE = Path(__file__).resolve().parent.parent


class Broken(Exception):
    """Something did not come as promised."""


class Child:
    """One life of the program; `report` is the last thing it said about the store."""

    def __init__(self, process: Process, folder: Path) -> None:
        self.pid = process.pid
        self.report: Report | None = None
        self._process = process
        self._folder = folder
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, folder: Path) -> Self:
        with (folder / "log").open("ab") as log:
            command = (sys.executable, "-m", "kill_and_resume.child", str(folder))
            process = await asyncio.create_subprocess_exec(*command, cwd=HERE, stdin=PIPE, stdout=PIPE, stderr=log)
        return cls(process, folder)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.report = Report.load(line.decode())

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def recorded(self, id: str) -> bool:
        return self.report is not None and any(one.id == id for one in self.report.recorded)

    def waiting(self, id: str) -> bool:
        return self.report is not None and id in self.report.waits

    async def until(self, met: Callable[[], bool], what: str, seconds: float = 30) -> None:
        """Raises Broken when that does not come in time, or the process ends before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not met() and self.alive:  # noqa: ASYNC110 - the ledger is a file: nothing tells of its changes
                    await asyncio.sleep(0.05)
        if not met():
            raise Broken(f"{what}: this did not happen within {seconds:g} s\n{(self._folder / 'log').read_text()}")

    async def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def kill(self) -> int:
        """SIGKILL: no handler runs, nothing is written any more. Returns what the process died of."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        return await self.ended()

    async def ended(self, seconds: float = 30) -> int:
        """What it ended with, once all it said has been read. Raises Broken when it does not end."""
        try:
            async with asyncio.timeout(seconds):
                await self._listening
                return await self._process.wait()
        except TimeoutError:
            raise Broken(f"the process did not end within {seconds:g} s") from None


@asynccontextmanager
async def child(folder: Path) -> AsyncGenerator[Child, None]:
    """A child that does not outlive the block."""
    started = await Child.start(folder)
    try:
        yield started
    finally:
        await started.kill()
