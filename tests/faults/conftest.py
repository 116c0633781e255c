"""What several tests of faults need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import producer, program


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ledger of the program in this process, and of the processes that are given its path.

    What producers wait between signals is for long runs.
    """
    monkeypatch.setattr(producer, "LATEST_S", 0.4)
    monkeypatch.setattr(program, "LEDGER", str(tmp_path / "ledger.jsonl"))
    return tmp_path / "ledger.jsonl"
