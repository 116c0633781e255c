"""Real processes: workers and schedulers as a user would launch them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Launcher:
    """Starts processes with one environment, and leaves none behind."""

    store_url: str
    broker_url: str
    namespace: str
    folder: Path
    app: str = "tests.e2e.orders:app"
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    logs_of: dict[int, Path] = field(default_factory=dict)

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "RUNNER_STORE_URL": self.store_url,
            "RUNNER_BROKER_URL": self.broker_url,
            "RUNNER_TEST_NAMESPACE": self.namespace,
            "RUNNER_TEST_LEDGER": str(self.ledger),
            "PYTHONPATH": str(ROOT),
        }

    def launch(
        self, *arguments: str, module: str = "runner", environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """``python -m module`` with these arguments; ``environment`` is added to what all processes have."""
        name = arguments[0] if module == "runner" else module.rpartition(".")[2]
        path = self.folder / f"{name}-{len(self.started)}.log"
        log = path.open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=self.environment() | dict(environment or {}),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        log.close()
        self.started.append(process)
        self.logs_of[process.pid] = path
        return process

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        return self.launch("worker", "--app", self.app, *options)

    def scheduler(self, *options: str) -> subprocess.Popen[bytes]:
        return self.launch("scheduler", "--app", self.app, *options)

    def logs(self) -> str:
        """The end of what every process said: shown when a test fails."""
        tails = (f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in self.folder.glob("*.log"))
        return "\n".join(tails)

    def has_said(self, process: subprocess.Popen[bytes], event: str) -> bool:
        return event in self.logs_of[process.pid].read_text(errors="replace")

    def said(self, event: str) -> int:
        """How many log lines carry this event."""
        return sum(path.read_text(errors="replace").count(event) for path in self.folder.glob("*.log"))

    def until_said(self, event: str, times: int = 1, timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while self.said(event) < times:
            assert time.monotonic() < deadline, f"{event} was not said {times} times\n{self.logs()}"
            time.sleep(0.05)


@contextmanager
def launcher(
    store_url: str, broker_url: str, namespace: str, folder: Path, app: str = Launcher.app
) -> Iterator[Launcher]:
    one = Launcher(store_url, broker_url, namespace, folder, app)
    try:
        yield one
    finally:
        for process in one.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
        for process in one.started:
            process.wait()
