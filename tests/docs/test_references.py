"""What the pages name is there: files, headings, tests, errors, log events."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from runner import errors
from tests.docs.blocks import PAGES
from tests.servers import ROOT

LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names that headings are linked by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(CODE.sub("", page.read_text())):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    for path, name in TEST.findall(page.read_text()):
        tree = ast.parse((ROOT / path).read_text())
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in functions, f"{page.name} names {path}::{name}"


def test_every_promise_names_its_tests() -> None:
    sections = re.split(r"^## ", (ROOT / "docs/guarantees.md").read_text(), flags=re.MULTILINE)
    promises = {section[: section.index(":")]: section for section in sections if re.match(r"P\d+:", section)}
    assert list(promises) == [f"P{number}" for number in range(1, 13)]
    unproved = [name for name, section in promises.items() if not TEST.search(section)]
    assert unproved == []
    others = [section for section in sections if re.match(r"(Undoing|Children|Events|The audit trail)\n", section)]
    assert len(others) == 4
    assert all(TEST.search(section) for section in others)


def test_the_error_page_has_every_error() -> None:
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs/errors.md").read_text()))
    public = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, BaseException)}
    assert public <= named


def test_every_log_event_that_is_named_is_logged() -> None:
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    sources = "\n".join(
        path.read_text() for folder in ("runner", "workers", "scheduler") for path in (ROOT / folder).rglob("*.py")
    )
    assert rows
    assert [event for event in rows if f'"{event}"' not in sources] == []
