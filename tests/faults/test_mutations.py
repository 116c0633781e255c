"""The list of mutations keeps up with the code: `make mutations` tries them, which takes minutes."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.faults.mutating import copied
from tests.faults.mutations import MUTATIONS, ROOT, Mutation, named, table

PROMISES = {f"P{number}" for number in range(1, 13)}
#: P11 is about values: what tests it takes no process, no server and no fault.
ELSEWHERE = {"P11"}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_its_text_is_found_once_and_its_tests_are_there(mutation: Mutation) -> None:
    assert mutation.found() == 1, f"{mutation.file} has changed: what is it that switches off {mutation.name!r} now?"
    assert mutation.after != mutation.before
    for path, name in mutation.functions():
        tree = ast.parse((ROOT / path).read_text())
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in functions, f"{path} has no test {name}"


def test_python_that_was_mutated_is_python() -> None:
    for one in MUTATIONS:
        if one.file.endswith(".py"):
            compile((ROOT / one.file).read_text().replace(one.before, one.after), one.file, "exec")


def test_points_are_those_of_rows() -> None:
    rows = {
        node.args[0].value
        for node in ast.walk(ast.parse((ROOT / "tests/faults/test_crash_points.py").read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Row"
        if isinstance(node.args[0], ast.Constant)
    }
    assert {point for one in MUTATIONS for point in one.points} <= rows


def test_every_promise_has_one_and_names_are_their_own() -> None:
    assert {one.promise for one in MUTATIONS} == PROMISES - ELSEWHERE
    assert max(Counter(one.name for one in MUTATIONS).values()) == 1
    assert [one.name for one in named(["fence"])] == ["fence"]
    assert named([]) == list(MUTATIONS)


def test_a_copy_has_the_mutation_and_the_tree_has_not() -> None:
    (fence,) = named(["fence"])
    with copied() as root:
        fence.apply(root)
        assert (fence.found(root), fence.found()) == (0, 1)
        assert (root / "runner" / "workers").is_symlink()


def test_the_page_shows_the_list() -> None:
    page = (ROOT / "docs" / "faults.md").read_text()
    assert table() in page, "print it with: python -m tests.faults.mutating --table"
