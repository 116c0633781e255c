"""What several tests of faults need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import producer, program

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who waits for something to heal says itself what did not, long before the suite's own limit cuts it off in silence."""
    for item in items:
        waits = item.get_closest_marker("slow") and not item.get_closest_marker("timeout")
        if waits and item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ledger of the program in this process, and of the processes that are given its path.

    What producers wait between signals is for long runs.
    """
    monkeypatch.setattr(producer, "LATEST_S", 0.4)
    monkeypatch.setattr(program, "LEDGER", str(tmp_path / "ledger.jsonl"))
    return tmp_path / "ledger.jsonl"
