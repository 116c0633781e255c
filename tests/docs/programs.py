"""Running a program as a reader would: a process of its own, with the package on its path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.servers import ROOT


def environment(**more: str) -> dict[str, str]:
    """This process's, without settings of Runner that a developer may have."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
    return {**own, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def run(*arguments: str, folder: Path, seconds: float = 60, **variables: str) -> str:
    """What `python *arguments` printed; fails with all it said when it did not end with 0 in time."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
