"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.docs.programs import environment
from tests.servers import ROOT

PROGRAM = """
import pytest
from runner import App, Context

app = App("kit")

@app.workflow
async def sleeps(ctx: Context) -> str:
    await ctx.sleep(3600)
    return "awake"

async def test_one(runner_env):
    env = await runner_env(app)
    assert await (await env.client.start(sleeps)).result() == "awake"

async def test_two_at_once(runner_env):
    first, second = await runner_env(app), await runner_env(app, auto_skip=False)
    await first.client.start(sleeps)
    assert (await second.client.executions()).executions == ()

async def test_three_tested_nothing(runner_env):
    (await runner_env(app)).crash_at("nowhere")
"""


def pytest_of(program: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_program.py").write_text(program)
    plugins = ("-p", "runner.testing.plugin", "-p", "pytest_asyncio.plugin")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-q", *options, "--rootdir", folder, folder],
        cwd=ROOT,
        env=environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_fixture_opens_environments_and_closes_them(tmp_path: Path) -> None:
    for mode in ("auto", "strict"):
        program = (
            PROGRAM if mode == "auto" else PROGRAM.replace("async def test", "@pytest.mark.asyncio\nasync def test")
        )
        done = pytest_of(program, tmp_path, f"--asyncio-mode={mode}")
        assert "3 passed" in done.stdout and "1 error" in done.stdout, done.stdout + done.stderr
        assert "never came about: crash at 'nowhere'" in done.stdout


def test_pytest_finds_it_by_itself() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"runner": "runner.testing.plugin"}


def test_it_costs_a_run_without_workflows_next_to_nothing() -> None:
    heavy = "[name for name in sys.modules if name.startswith(('runner.store', 'runner.workers', 'sqlite3'))]"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, runner.testing.plugin; print({heavy})"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr
