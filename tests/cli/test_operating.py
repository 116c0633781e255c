"""What an operator does on the command line: through `runner dev`, and on a file that nobody holds."""

from __future__ import annotations

import getpass
import signal
from pathlib import Path

import pytest

from runner.history_file import read_history
from runner.records import Status


@pytest.fixture
def file(shell) -> Path:
    """A store that nobody holds: commands open it for a moment."""
    file = shell.folder / "state.db"
    file.touch()
    return file


@pytest.fixture
def on(here, file):
    """A command on that store."""
    return lambda *arguments, **more: here(*arguments, "--store", f"sqlite:///{file}", "--namespace", "shop", **more)


@pytest.fixture
def waiting(here, file) -> str:
    started = here("start", "lottery", "--store", f"sqlite:///{file}", "--app", "shop:app")
    assert started.code == 0, started.err
    return started.out.strip()


def test_an_afternoon_with_an_operator(shell, here):
    """Everything through the door, as a person would: look, act, look again."""
    process = shell.spawn_ready("dev.ready", "dev", "--app", "shop:app")
    id = "lost"
    assert here("start", "lottery", "--id", id, "--wait").code == 1

    steps = here("executions", "steps", id, "--json").json()["steps"]
    assert [(step["id"], step["state"], step["attempts"]) for step in steps] == [
        ("buy", "completed", 1),
        ("draw", "failed", 1),
    ]
    assert steps[1]["error"]["message"] == "no luck"
    assert "ValueError: no luck" in here("executions", "steps", id).out

    again = here("executions", "retry", id, "--actor", "ann", "--json")
    assert (again.code, again.json()) == (0, {"execution_id": id, "status": "pending"}), again.err
    assert here("executions", "watch", id).code == 1
    assert (shell.folder / "draws").read_text() == "xx", "the step that had failed was called again, and no other"

    forked = here("executions", "fork", id, "draw", "--id", "second", "--json")
    assert forked.json() == {"execution_id": "second", "origin": id}
    assert here("executions", "watch", "second").code == 1
    assert here("executions", "fork", id, "draw", "--id", "second").code == 1

    skipped = here("executions", "skip-step", id, "draw", '"won by hand"', "--yes")
    assert (skipped.code, skipped.out) == (0, f"{id}  failed\n"), skipped.err
    assert here("executions", "retry", id).code == 0
    assert here("executions", "watch", id).lines()[-1]["result"] == "won by hand"

    audit = here("executions", "audit", id, "--json").json()["audit"]
    acted = [line["fields"] for line in audit if line["kind"] == "operator"]
    assert [(one["actor"], one["action"]) for one in acted] == [
        ("ann", "retry"),
        (getpass.getuser(), "fork"),
        (getpass.getuser(), "record"),
        (getpass.getuser(), "retry"),
    ]
    assert "skip_step" in here("executions", "audit", id).out

    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    changes = [line for line in shell.out(process).splitlines() if f"  {id}  " in line]
    assert any("new -> pending" in line for line in changes[1:]), "an opening is a line of `runner dev`"


def test_a_history_is_written_as_a_file_that_can_be_read(on, waiting):
    written = on("executions", "history", waiting, "--json")
    file = read_history(written.out)
    assert (file.execution.id, file.execution.status, file.entries) == (waiting, Status.PENDING, ())
    assert on("executions", "history", waiting).out.startswith("#")


def test_a_destructive_command_asks_on_a_terminal_and_needs_a_yes_elsewhere(on, waiting, monkeypatch):
    command = ("executions", "force-fail", waiting, "--reason", "enough")
    refused = on(*command)
    assert (refused.code, "--yes" in refused.err) == (2, True)
    monkeypatch.setattr("runner.cli.asking._asks", lambda: True)
    assert on(*command, input="n\n").code == 130
    assert on("executions", "show", waiting, "--json").json()["status"] == "pending"
    assert on(*command, input="y\n").code == 0
    assert on("executions", "show", waiting, "--json").json()["status"] == "failed"


def test_what_makes_no_sense_has_an_exit_code_and_a_cure(on, waiting):
    for command, code, said in (
        (("retry", waiting), 1, "nothing to try again"),
        (("retry-rollback", waiting, "--yes"), 1, "cancel it"),
        (("skip-step", waiting, "draw", "--yes"), 4, "no step 'draw'"),
        (("edit-step", waiting, "draw", "1", "--yes"), 4, "no step 'draw'"),
        (("fork", waiting, "draw"), 4, "no step 'draw'"),
        (("retry", "nobody"), 4, "nobody"),
        (("audit", "nobody"), 4, "nobody"),
        (("edit-step", waiting, "draw", "{", "--yes"), 2, "value is no JSON"),
        (("force-fail", waiting, "--yes"), 2, "--reason"),
    ):
        told = on("executions", *command)
        assert (told.code, said in told.err) == (code, True), (command, told.err)
        assert told.out == ""
    assert on("executions", "force-fail", waiting, "--reason", "x", "--yes").code == 0
    again = on("executions", "force-fail", waiting, "--reason", "x", "--yes")
    assert (again.code, "is failed" in again.err) == (1, True)


def test_nobody_without_a_name_acts(on, waiting, monkeypatch):
    def nameless() -> str:
        raise KeyError("uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nameless)
    told = on("executions", "force-fail", waiting, "--reason", "x", "--yes")
    assert (told.code, "--actor" in told.err) == (2, True)
    assert on("executions", "force-fail", waiting, "--reason", "x", "--yes", "--actor", "ann").code == 0


def test_lists_by_attribute_trees_and_what_is_stuck(on, here, file, waiting):
    assert on("executions", "list", "--attribute", "customer=ann", "--json").json()["executions"] == []
    assert on("executions", "list", "--stuck", "--json").json()["executions"] == []
    assert on("executions", "list", "--attribute", "customer").code == 2
    assert on("executions", "tree", waiting).out == f"{waiting}  lottery  pending\n"
    tree = on("executions", "tree", waiting, "--json").json()
    assert (tree["id"], tree["children"], tree["complete"]) == (waiting, [], True)
    assert on("executions", "show", waiting, "--json").json()["position"] == "ready for a worker"


def test_the_queues_of_dev_are_its_own(on, file):
    assert on("queues", "list").code == 2
    assert on("queues", "dead-letters").code == 2
