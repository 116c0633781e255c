"""Installed where there is nothing else: the command runs, and only declared dependencies are there to help it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.servers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


ORDERS = """
from runner import App, Context
app = App("shop")
@app.workflow
async def order(ctx: Context) -> None: ...
"""


def run(*command: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install(folder: Path, *what: str | Path, interpreter: str | Path = sys.executable) -> Path:
    """A fresh environment of that interpreter with that in it; its folder of programs."""
    programs = folder / "venv" / "bin"
    if uv := shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"):
        run(uv, "venv", "--quiet", "--python", interpreter, folder / "venv", cwd=folder)
        run(uv, "pip", "install", "--quiet", "--python", programs / "python", *what, cwd=folder)
    else:
        run(interpreter, "-m", "venv", folder / "venv", cwd=folder)
        run(programs / "python", "-m", "pip", "install", "--quiet", *what, cwd=folder)
    return programs


def test_the_wheel_installs_and_its_command_runs(wheel: Path, tmp_path: Path) -> None:
    programs = install(tmp_path, wheel)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version in run(programs / "runner", "--version", cwd=tmp_path)
    places = run(
        programs / "python",
        "-c",
        "import runner, runner.workers, runner.scheduler as s; print(runner.__file__, runner.workers.__file__, s.__file__)",
        cwd=tmp_path,
    )
    assert all(place.startswith(str(tmp_path)) for place in places.split())


def test_an_app_may_live_in_a_folder_called_workers(wheel: Path, tmp_path: Path) -> None:
    programs = install(tmp_path, wheel)
    for folder in ("workers", "scheduler"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "orders.py").write_text(ORDERS)
        run(programs / "runner", "check", "--app", f"{folder}.orders:app", cwd=tmp_path)


def test_every_module_imports_with_nothing_but_the_declared_dependencies(wheel: Path, tmp_path: Path) -> None:
    programs = install(tmp_path, wheel)
    walk = (
        "import importlib, pkgutil, runner\n"
        "for found in pkgutil.walk_packages(runner.__path__, 'runner.'):\n"
        "    if not found.name.endswith(('__main__', 'testing.plugin')): importlib.import_module(found.name)"
    )
    run(programs / "python", "-W", "error", "-c", walk, cwd=tmp_path)


def test_an_editable_install_sees_the_working_tree(tmp_path: Path) -> None:
    programs = install(tmp_path, "--editable", ROOT)
    place = run(programs / "python", "-c", "import runner.workers as w; print(w.__file__)", cwd=tmp_path)
    assert Path(place.strip()) == ROOT / "runner" / "workers" / "__init__.py"
