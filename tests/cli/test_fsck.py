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
    assert "1 execution looked at, 1 finding." in told.err and "--repair" in told.err

    told = here(*on, "--repair")
    assert told.code == 2
    assert "--yes" in told.err

    told = here(*on, "--repair", "--yes", "--json")
    assert told.code == 0
    document = told.json()
    assert (document["counts"], document["repaired"], document["left"]) == ({"unwakeable": 1}, 1, 0)
    assert (document["findings"][0]["subject"], document["findings"][0]["repaired"]) == ("lost", True)

    told = here(*on)
    assert (told.code, told.out) == (0, "")
    assert "1 execution looked at, 0 findings." in told.err


def test_what_is_left_to_people_is_told_apart_with_what_to_do(here, damaged: Path) -> None:
    on = ("--store", f"sqlite:///{damaged}", "--namespace", "shop")
    again = here("start", "quick", '{"id": "2", "amount": 1}', "--id", "odd", *on[:2], "--app", "shop:app")
    assert again.code == 0, again.err
    with sqlite3.connect(damaged) as db:
        db.execute("UPDATE execution SET status = 'telepathic' WHERE id = 'odd'")
        db.execute("UPDATE execution SET stuck = 1 WHERE id = 'lost'")
    db.close()

    told = here("fsck", *on, "--repair", "--yes")
    assert told.code == 1
    assert "2 executions looked at, 3 findings: 2 set right, 1 left." in told.err
    assert "record_unreadable: use the version of Runner that wrote it" in told.err
    assert {line.split()[0]: line.split()[1] for line in told.out.splitlines()[1:]} == {
        "unwakeable": "set",
        "index_surplus": "set",
        "record_unreadable": "left",
    }

    told = here("executions", "list", *on)
    assert (told.code, "lost" in told.out, "odd" in told.out) == (0, True, False)
    assert "left out: odd: the record of execution 'odd' cannot be read" in told.err
    assert list(here("executions", "list", *on, "--json").json()["unreadable"]) == ["odd"]

    told = here("executions", "cancel", "odd", *on)
    assert (told.code, told.out) == (2, "")
    assert "the record of execution 'odd' cannot be read" in told.err

    told = here("why", "odd", *on, "--json")
    assert told.code == 0
    assert [reason["code"] for reason in told.json()["reasons"]] == ["record_unreadable"]


def test_a_check_through_the_door(shell, here) -> None:
    shell.spawn_ready("dev.ready", "dev", "--app", "shop:app")
    assert here("start", "approve", '{"id": "1", "amount": 1}', "--app", "shop:app", "--id", "one").code == 0
    told = here("fsck", "--json", "--app", "shop:app")
    assert told.code == 0, told.err
    assert told.json()["executions"] == 1
