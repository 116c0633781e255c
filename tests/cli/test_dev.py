"""`runner dev` and the commands that reach it: real processes on a file."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ORDER = '{"id": "7", "amount": 21, "due": "2026-01-01T00:00:00Z"}'
DB = Path(".runner/state.db")


def dev(shell) -> subprocess.Popen[str]:
    return shell.spawn_ready("dev.ready", "dev", "--app", "shop:app")


def statuses(shell, process, id: str) -> list[str]:
    return [line.split("  ")[3] for line in shell.out(process).splitlines() if line.split("  ")[2] == id]


def test_a_day_with_dev(shell, here, monkeypatch):
    """Start, wait, look, signal, cancel: all through the door, without --app where no type is needed."""
    process = dev(shell)

    quick = here("start", "quick", ORDER, "--app", "shop:app", "--wait")
    assert (quick.code, quick.out) == (0, "42\n"), quick.err

    waiting = here("start", "approve", "-", "--id", "order-7", input=ORDER)
    assert (waiting.code, waiting.out) == (0, "order-7\n"), waiting.err
    shell.until(lambda: "running -> sleeping" in statuses(shell, process, "order-7"))

    shown = here("executions", "show", "order-7", "--json")
    document = shown.json()
    assert document["status"] == "sleeping"
    assert [(entry["id"], entry["value"]) for entry in document["journal"]] == [("charge", 42)]
    assert document["waits"][0]["name"] == "approved"
    assert document["waits"][0]["deadline"].endswith("Z")

    signalled = here("executions", "signal", "order-7", "approved", '"ann"', "--json")
    assert signalled.json() == {"execution_id": "order-7", "delivered": True}
    watched = here("executions", "watch", "order-7")
    assert watched.code == 0
    assert watched.lines()[-1]["result"] == [42, "ann"]
    assert here("executions", "signal", "order-7", "approved", '"bob"').code == 1

    plain = here("executions", "show", "order-7").out
    assert "order-7" in plain
    assert 'result: [42, "ann"]' in plain
    with monkeypatch.context() as terminal:
        terminal.setattr("sys.stdout.isatty", lambda: True)
        assert "ann" in here("executions", "show", "order-7").out
        live = here("executions", "watch", "order-7")
        assert live.code == 0
        assert "charge" in live.out
        assert 'result: [42, "ann"]' in live.out

    broken = here("start", "broken", "--wait", "--json")
    assert broken.code == 1
    assert broken.json()["error"]["message"] == "no \x1b[31mway"
    assert r"no \x1b[31mway" in broken.err
    assert "Traceback" not in broken.err

    slow = here("start", "slow").out.strip()
    shell.until((shell.folder / "snoozing").exists)
    assert here("executions", "cancel", slow, "--reason", "enough").code == 0
    ended = here("executions", "watch", slow)
    assert (ended.code, ended.lines()[-1]["status"]) == (1, "cancelled")
    assert "enough" in ended.err

    listed = here("executions", "list", "--status", "completed", "--since", "1h", "--json").json()
    assert [execution["workflow"] for execution in listed["executions"]] == ["approve", "quick"]
    page = here("executions", "list", "--limit", "1", "--json").json()
    assert page["executions"][0]["id"] == slow
    after = here("executions", "list", "--limit", "1", "--json", "--cursor", page["cursor"]).json()
    assert after["executions"][0]["workflow"] == "broken"
    assert "quick v1" in here("workers", "list").out

    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert statuses(shell, process, "order-7") == [
        "new -> pending",
        "pending -> running",
        "running -> sleeping",
        "sleeping -> running",
        "running -> completed",
    ]
    assert not (shell.folder / ".runner/state.db.sock").exists()


def test_what_goes_wrong_is_said_with_its_code(shell, here):
    process = dev(shell)
    assert here("executions", "show", "nobody").code == 4
    assert here("start", "nothing", "--app", "shop:app").code == 4
    misfit = here("start", "quick", '{"id": "7", "amount": "many"}', "--app", "shop:app")
    assert misfit.code == 2
    assert "input.amount" in misfit.err
    other = here("executions", "list", "--namespace", "other")
    assert other.code == 2
    assert "'shop', not 'other'" in other.err
    assert here("dev", "--app", "shop:app").code == 2, "the file is held"
    late = here("start", "slow", "--wait-timeout", "500ms")
    assert late.code == 1
    assert "still" in late.err
    assert process.poll() is None


def test_killed_and_started_again_executions_go_on(shell, here):
    process = dev(shell)
    here("start", "approve", ORDER, "--id", "order-7", "--app", "shop:app")
    slow = here("start", "slow").out.strip()
    shell.until(lambda: "running -> sleeping" in statuses(shell, process, "order-7"))
    shell.until((shell.folder / "snoozing").exists)
    process.kill()
    process.wait()

    # Nobody holds the file now: commands open it themselves, and what they ask for waits.
    assert here("executions", "show", "order-7", "--namespace", "shop", "--json").json()["status"] == "sleeping"
    told = here("executions", "signal", "order-7", "approved", '"ann"', "--app", "shop:app")
    assert told.code == 0
    assert "`runner dev` is not running" in told.err
    started = here("start", "quick", ORDER, "--id", "meanwhile", "--app", "shop:app")
    assert started.code == 0, started.err
    nowhere = here("executions", "list")
    assert nowhere.code == 2
    assert "--namespace" in nowhere.err

    again = dev(shell)
    assert here("executions", "watch", "order-7").lines()[-1]["result"] == [42, "ann"]
    assert here("executions", "watch", "meanwhile").lines()[-1]["result"] == 42
    shell.until(lambda: (shell.folder / "snoozing").read_text() == "xx", otherwise=lambda: shell.err(again))
    assert "pending -> running" in statuses(shell, again, slow)


def test_ctrl_c_hands_back_what_does_not_end_and_twice_is_faster(shell, here):
    process = dev(shell)
    slow = here("start", "slow").out.strip()
    shell.until((shell.folder / "snoozing").exists)
    process.send_signal(signal.SIGINT)
    shell.until(lambda: shell.logged(process, "worker.draining"))
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert statuses(shell, process, slow)[-1] == "running -> pending"


def test_whoever_waits_may_stop_waiting(shell):
    process = dev(shell)
    waiting = shell.spawn("start", "slow", "--wait")
    shell.until((shell.folder / "snoozing").exists)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(30) == 130
    assert "Traceback" not in shell.err(waiting)
    id = shell.err(waiting).split()[1]
    assert statuses(shell, process, id) == ["new -> pending", "pending -> running"], "it goes on"


def test_a_pipe_that_closes_is_no_disaster(shell):
    dev(shell)
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m runner executions list | head -c 1"],
        cwd=shell.folder,
        env=shell.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr


def test_without_any_store_the_cure_is_said(shell, here):
    told = here("executions", "list", "--app", "shop:app")
    assert told.code == 2
    assert "RUNNER_STORE_URL" in told.err
    assert "runner dev" in told.err
    none = here("executions", "list", "--app", "shop:app", "--store", "sqlite:///nowhere.db")
    assert none.code == 2
    assert "there is no store" in none.err
    assert not (shell.folder / "nowhere.db").exists()
    assert here("executions", "list", "--app", "shop:app", "--store", "sqlite://").code == 2


def test_an_app_in_a_folder_called_workers(shell):
    """As installed, nothing else is called so: not even Runner's own package."""
    shell.write("workers/__init__.py", "")  # a checkout that is on the path has a package of that name itself
    shell.write("workers/orders.py", (shell.folder / "shop.py").read_text())
    told = shell.run("check", "--app", "workers.orders:app")
    assert told.code == 0, told.err
    assert "workers.orders.Order" in told.out
