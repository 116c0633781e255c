"""One build of wheel and sdist for all packaging tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT


def build(source: Path, target: Path, *kinds: str) -> None:
    chosen = [argument for kind in kinds for argument in ("--target", kind)]
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target), *chosen]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and sdist, built from the working tree."""
    target = tmp_path_factory.mktemp("dist")
    build(ROOT, target, "sdist", "wheel")
    return target


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    [path] = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def sdist(built: Path) -> Path:
    [path] = built.glob("*.tar.gz")
    return path
