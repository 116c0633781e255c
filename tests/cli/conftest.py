"""Running the command line: in this process where only its words matter, as a process where its life does."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from runner.cli import main

ROOT = Path(__file__).parents[2]

SHOP = """
from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from runner import App, Context, Signal

app = App(os.environ.get("SHOP_NAMESPACE", "shop"))
approved = Signal[str]("approved")


@dataclass(frozen=True)
class Order:
    id: str
    amount: int
    due: datetime | None = None


async def charge(order: Order) -> int:
    return order.amount * 2


@app.workflow("quick", category="orders")
async def quick(ctx: Context, order: Order) -> int:
    return await ctx.step("charge", charge, order)


@app.workflow("approve", signals=[approved], defaults=Order("demo", 1))
async def approve(ctx: Context, order: Order) -> list[object]:
    charged = await ctx.step("charge", charge, order)
    return [charged, await ctx.wait_for_signal(approved, timeout=timedelta(hours=1))]


@app.workflow("broken", max_attempts=1)
async def broken(ctx: Context) -> int:
    raise ValueError("no \\x1b[31mway")


def draw(ticket: int) -> str:
    with open("draws", "a") as said:
        said.write("x")
    if not os.path.exists("luck"):
        raise ValueError("no luck")
    return f"won with {ticket}"


async def buy() -> int:
    return 7


@app.workflow("lottery", max_attempts=1)
async def lottery(ctx: Context) -> str:
    ticket = await ctx.step("buy", buy)
    return await ctx.step("draw", draw, ticket)


async def snooze() -> None:
    with open("snoozing", "a") as said:
        said.write("x")
    await asyncio.sleep(3600)


def stare() -> None:
    with open("staring", "a") as said:
        said.write("x")
    time.sleep(3600)


@app.workflow("stuck")
async def stuck(ctx: Context) -> None:
    await ctx.step("stare", stare)


@app.workflow("slow")
async def slow(ctx: Context) -> None:
    await ctx.step("snooze", snooze)
"""


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """A user's project, and processes in it as a user would start them. None is left behind."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder = folder
        # As installed: only the package `runner` is there, not the folders of its repository.
        site.mkdir()
        (site / "runner").symlink_to(ROOT / "runner")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
        self.env = {**clean, "PYTHONPATH": str(site), "PYTHONUNBUFFERED": "1"}
        self._started: list[subprocess.Popen[str]] = []

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def run(self, *arguments: str, input: str = "") -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "runner", *arguments],
            cwd=self.folder,
            env=self.env,
            input=input,
            capture_output=True,
            text=True,
            timeout=90,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        number = len(self._started)
        with (self.folder / f"{number}.out").open("w") as out, (self.folder / f"{number}.err").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "runner", *arguments],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
            )
        self._started.append(process)
        return process

    def spawn_ready(self, event: str, *arguments: str) -> subprocess.Popen[str]:
        """Started, and it has logged this."""
        process = self.spawn(*arguments)
        self.until(lambda: self.logged(process, event), otherwise=lambda: self.err(process))
        return process

    def out(self, process: subprocess.Popen[str]) -> str:
        return (self.folder / f"{self._started.index(process)}.out").read_text()

    def err(self, process: subprocess.Popen[str]) -> str:
        return (self.folder / f"{self._started.index(process)}.err").read_text()

    def logged(self, process: subprocess.Popen[str], event: str) -> list[dict[str, Any]]:
        """The log lines of this event so far."""
        lines = [line for line in self.err(process).splitlines() if line.startswith("{") and line.endswith("}")]
        return [entry for entry in map(json.loads, lines) if entry.get("event") == event]

    def until(self, met: Callable[[], Any], *, otherwise: Callable[[], str] = lambda: "") -> None:
        deadline = time.monotonic() + 60
        while not met():
            assert time.monotonic() < deadline, otherwise()
            time.sleep(0.05)

    def end(self) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
            for entry in self.logged(process, "pool.child_started"):
                self._end_orphan(entry["pid"])

    def _end_orphan(self, pid: int) -> None:
        """A child of a pool that has failed its test: the pid may be somebody else's by now."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if "--in-pool" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A project with the app `shop:app` in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    shell = Shell(folder, tmp_path / "site")
    shell.write("shop.py", SHOP)
    yield shell
    shell.end()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Said]]:
    """Run a command in this process."""
    for name in list(os.environ):
        if name.startswith("RUNNER_"):
            monkeypatch.delenv(name)
    handlers, level, path = logging.root.handlers[:], logging.root.level, sys.path[:]

    def call(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        told = capsys.readouterr()
        return Said(int(left.value.code or 0), told.out, told.err)

    yield call
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    sys.path[:] = path
    structlog.reset_defaults()


@pytest.fixture
def here(shell: Shell, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Said]]:
    """As `call`, in the project of `shell`: much faster than a process of its own for each command."""
    monkeypatch.chdir(shell.folder)

    def here(*arguments: str, input: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(input))
        return call(*arguments)

    yield here
    sys.modules.pop("shop", None)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections for as long as the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
