"""Both type checkers, strict, on programs of whoever uses Runner."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.docs.programs import environment
from tests.servers import ROOT


def mypy(folder: Path, *files: str) -> str:
    options = (
        "--strict",
        "--enable-error-code=exhaustive-match",
        "--follow-imports=silent",
        "--explicit-package-bases",
    )
    return checked("mypy", "--config-file=", *options, *files, folder=folder, MYPYPATH=f"{folder}:{ROOT}")


def pyright(folder: Path, *files: str) -> str:
    settings = {"include": files, "extraPaths": [str(ROOT)], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    # What a page shows once, some of its snippets have no use for.
    settings |= {"reportUnusedImport": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    return checked("pyright", "--pythonpath", sys.executable, folder=folder)


def checked(*command: str, folder: Path, **variables: str) -> str:
    """What the checker says; empty when it finds nothing."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
