"""The static checks are tests: types by two checkers, style, format, and who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ROOT

FOLDERS = ("runner", "workers", "scheduler")
LONGEST_FILE, LONGEST_FUNCTION = 400, 40


def check(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def sources() -> Iterator[Path]:
    """Each file once: the links runner/workers and runner/scheduler are not followed."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                yield path


@pytest.mark.timeout(300)
def test_mypy_strict() -> None:
    check("mypy", "--package", "runner")


@pytest.mark.timeout(300)
def test_pyright_strict() -> None:
    check("pyright", "--pythonpath", sys.executable)


@pytest.mark.timeout(300)
def test_both_checkers_read_and_refuse_what_a_program_may_and_may_not_write() -> None:
    check("mypy", "tests/typing/api.py")
    check("pyright", "--pythonpath", sys.executable, "--project", "tests/typing/pyrightconfig.json")


def test_ruff() -> None:
    check("ruff", "check")


def test_the_format() -> None:
    check("ruff", "format", "--check")


def test_the_import_rules() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_logo=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    too_long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": length
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (length := body_lines(node)) > LONGEST_FUNCTION
    }
    assert too_long == {}


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From the first statement after the docstring to the last: signatures and docstrings are not what tires."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1
