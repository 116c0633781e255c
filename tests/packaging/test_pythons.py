"""Every other supported Python that this machine has runs the wheel, too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.test_install import install, run
from tests.servers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SUPPORTED = range(11, 15)


def candidates() -> Iterator[Path]:
    """Programs that may be a Python: on the path, and where pyenv keeps its versions."""
    for minor in SUPPORTED:
        if found := shutil.which(f"python3.{minor}"):
            yield Path(found)
        root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
        yield from sorted(root.glob(f"versions/3.{minor}.*/bin/python3.{minor}"))


def others() -> dict[int, Path]:
    """One interpreter for each supported minor version but this one."""
    found: dict[int, Path] = {}
    for program in candidates():
        said = subprocess.run([program, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True)
        if said.returncode == 0:
            found.setdefault(int(said.stdout), program)
    found.pop(sys.version_info[1], None)
    return found


@pytest.mark.parametrize("program", [pytest.param(path, id=f"3.{minor}") for minor, path in others().items()])
def test_the_first_example_runs_on(program: Path, wheel: Path, tmp_path: Path) -> None:
    programs = install(tmp_path, wheel, interpreter=program)
    said = run(programs / "python", "-W", "error", ROOT / "examples" / "quickstart.py", cwd=tmp_path)
    assert said == "tea for 3 coins\n"
    assert "0.1.0" in run(programs / "runner", "--version", cwd=tmp_path)
