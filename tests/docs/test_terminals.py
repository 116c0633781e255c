"""What README and tutorial tell to type in several terminals, typed: with a kill in the middle."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.docs.blocks import Block, marked
from tests.docs.programs import environment
from tests.servers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RUNNER = [sys.executable, "-m", "runner"]


class Terminal:
    """Commands of one folder and environment; each begins with `runner`."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.variables = dict(variables)

    def type(self, words: list[str]) -> str:
        done = subprocess.run(
            [*RUNNER, *words[1:]],
            cwd=self.folder,
            env=environment(**self.variables),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def leave_running(self, words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*RUNNER, *words[1:]],
                cwd=self.folder,
                env=environment(**self.variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def show(self, execution: str, *options: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(
            self.type(["runner", "executions", "show", execution, "--json", *options])
        )
        return document


def until(met: Callable[[], bool], log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(1.5)  # to look is a command, which takes most of a second of a processor


def only(mark: str) -> Block:
    (block,) = marked(mark)
    return block


def recorded(document: dict[str, Any]) -> dict[str, str]:
    """When each recorded thing was recorded."""
    return {entry["id"]: entry["at"] for entry in document["journal"]}


def exported(block: Block) -> set[str]:
    return {words[1].partition("=")[0] for words in block.commands() if words[0] == "export"}


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """examples/approval.py under a namespace of this test (the servers are shared), with more time to be killed in."""
    code = (ROOT / "examples/approval.py").read_text()
    for old, new in (('App("shop")', f'App("shop-{uuid4().hex[:8]}")'), ("asyncio.sleep(5)", "asyncio.sleep(12)")):
        assert code.count(old) == 1
        code = code.replace(old, new)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples/approval.py").write_text(code)
    return "examples.approval:app"


def test_three_terminals(shop: str, redis_url: str, rabbit_url: str, tmp_path: Path) -> None:
    settings = {"RUNNER_APP": shop, "RUNNER_STORE_URL": redis_url, "RUNNER_BROKER_URL": rabbit_url}
    assert exported(only("terminal: all")) == set(settings)
    terminal, log = Terminal(tmp_path, settings), tmp_path / "log"
    (worker,), (scheduler,) = only("terminal: 1").commands(), only("terminal: 2").commands()
    with ExitStack() as stack:
        first = stack.enter_context(terminal.leave_running(worker, log))
        stack.enter_context(terminal.leave_running(scheduler, log))
        until(lambda: "worker.ready" in log.read_text(), log)

        for words in only("terminal: 3").commands():
            said = terminal.type(words)
        assert "parcel from shelf-7, receipt-4200, approved by ann" in said

        start, signal, watch = only("terminal: 3, kill").commands()
        terminal.type(start)
        terminal.type(signal)
        until(lambda: "cool-off" in recorded(terminal.show("order-8")), log)
        first.kill()
        before = recorded(terminal.show("order-8"))
        assert "ship" not in before, "it was killed too late: shipping was over"
        stack.enter_context(terminal.leave_running(worker, log))
        said = terminal.type(watch)
        assert "parcel from shelf-8, receipt-4200, approved by ann" in said
        after = recorded(terminal.show("order-8"))
    assert {id: after[id] for id in before} == before


def test_the_tutorials_kill(shop: str, tmp_path: Path) -> None:
    terminal, log = Terminal(tmp_path, {}), tmp_path / "log"
    (dev,) = only("dev: 1").commands()
    with terminal.leave_running(dev, log) as first:
        until(lambda: "dev.ready" in log.read_text(), log)
        for words in only("dev: 2").commands():
            terminal.type(words)
        until(lambda: {"reserve", "charge"} <= set(recorded(terminal.show("order-7", "--app", shop))), log)
        before = recorded(terminal.show("order-7", "--app", shop))
        first.kill()
        first.wait()
    with terminal.leave_running(dev, log):
        until(lambda: log.read_text().count("dev.ready") == 2, log)
        for words in only("dev: 3").commands():
            said = terminal.type(words)
        assert "parcel from shelf-7, receipt-4200, approved by ann" in said
        after = recorded(terminal.show("order-7", "--app", shop))
    assert {id: after[id] for id in before} == before


def test_the_agent_is_reviewed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")  # the file of `runner dev` is left here
    terminal, log = Terminal(tmp_path, {}), tmp_path / "log"
    (dev,) = only("agent: 1").commands()
    (_, setting), *typed = only("agent: 2").commands()
    terminal.variables["RUNNER_APP"] = setting.removeprefix("RUNNER_APP=")
    with terminal.leave_running(dev, log):
        until(lambda: "dev.ready" in log.read_text(), log)
        for words in typed:
            said = terminal.type(words)
        assert "Tea is wet, politely: the library says so" in said


#: An input of each app that its workflow takes to its end by itself, and what it ends with.
ON_A_FLEET = {
    "order": ("order", '{"id": "7", "item": "tea", "amount": 12}', "parcel-7, paid with r1"),
    "onboarding": ("onboard", '{"name": "bob", "manager": "mae", "starts": "2026-01-01T00:00:00Z"}', "no laptops"),
}


@pytest.mark.parametrize("example", ON_A_FLEET)
def test_the_examples_run_on_a_fleet_as_they_are(example: str, redis_url: str, rabbit_url: str, tmp_path: Path) -> None:
    app = f"examples.{example}:app"
    servers = {"RUNNER_STORE_URL": redis_url, "RUNNER_BROKER_URL": rabbit_url}
    terminal, log = Terminal(ROOT, {"RUNNER_APP": app, **servers}), tmp_path / "log"
    workflow, given, ends = ON_A_FLEET[example]
    with terminal.leave_running(["runner", "worker"], log), terminal.leave_running(["runner", "scheduler"], log):
        until(lambda: "worker.ready" in log.read_text(), log)
        assert ends in terminal.type(["runner", "start", workflow, given, "--wait"])
