"""The check on the command line: through `runner dev`, on a file that nobody holds, and on servers."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest


@pytest.fixture
def damaged(shell, here) -> Path:
    """A file in which an execution has lost what would have woken it."""
    file = shell.folder / "state.db"
    file.touch()
    started = here(
        "start",
        "quick",
        '{"id": "1", "amount": 1}',
        "--id",
        "lost",
        "--store",
        f"sqlite:///{file}",
        "--app",
        "shop:app",
    )
    assert started.code == 0, started.err
    damage(file)
    return file


def damage(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("UPDATE execution SET ready_at = NULL, since = NULL WHERE id = 'lost'")
    db.close()


def test_what_is_found_is_told_and_set_right_when_asked_to(here, damaged: Path) -> None:
    on = ("fsck", "--store", f"sqlite:///{damaged}", "--namespace", "shop")
    told = here(*on)
    assert told.code == 1
    assert "unwakeable" in told.out and "'lost'" in told.out
    assert "1 findings, 0 set right" in told.err and "--repair" in told.err

    told = here(*on, "--repair")
    assert told.code == 2
    assert "--yes" in told.err

    told = here(*on, "--repair", "--yes", "--json")
    assert told.code == 0
    document = told.json()
    assert (document["counts"], document["repaired"]) == ({"unwakeable": 1}, 1)
    assert document["findings"][0]["subject"] == "lost"

    told = here(*on)
    assert (told.code, told.out) == (0, "")
    assert "1 executions looked at, 0 findings" in told.err


def test_a_check_through_the_door(shell, here) -> None:
    shell.spawn_ready("dev.ready", "dev", "--app", "shop:app")
    assert here("start", "approve", '{"id": "1", "amount": 1}', "--app", "shop:app", "--id", "one").code == 0
    told = here("fsck", "--json", "--app", "shop:app")
    assert told.code == 0, told.err
    assert told.json()["executions"] == 1
