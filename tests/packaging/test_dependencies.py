"""A dependency is declared if and only if the package imports it: none is unused, none comes by way of another."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

from tests.servers import ROOT

# Read by zoneinfo, not imported: without it, zones by name are missing from slim images.
BY_DATA = {"tzdata"}
# Imported by pytest, which is there then, and by nothing of ours.
BY_HOST = ROOT / "runner/testing/plugin.py"


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_imports_and_declarations_are_the_same() -> None:
    files = [path for folder in ("runner", "workers", "scheduler") for path in (ROOT / folder).rglob("*.py")]
    files.remove(BY_HOST)
    used = set[str]().union(*map(imported, files)) - sys.stdlib_module_names - {"runner"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [requirement for group in project.get("optional-dependencies", {}).values() for requirement in group]
    declared = {re.split(r"[^\w.-]", text)[0].replace("-", "_") for text in [*project["dependencies"], *extras]}
    assert declared - BY_DATA == used


def test_what_pytest_loads_is_loaded_by_nobody_else() -> None:
    files = [path for folder in ("runner", "workers", "scheduler") for path in (ROOT / folder).rglob("*.py")]
    assert [path for path in files if "runner.testing.plugin" in path.read_text()] == []
