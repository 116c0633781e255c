"""Workers, their pools and schedulers as processes, on a real Redis and RabbitMQ."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ORDER = '{"id": "7", "amount": 21}'
PASSWORD = "hunter2"


@pytest.fixture
def shell(shell, redis_url, rabbit_url, namespace):
    shell.env |= {"RUNNER_STORE_URL": redis_url, "RUNNER_BROKER_URL": rabbit_url, "SHOP_NAMESPACE": namespace}
    shell.env["RUNNER_APP"] = "shop:app"
    return shell


@pytest.fixture
def here(here, shell, monkeypatch):
    for name in ("RUNNER_STORE_URL", "RUNNER_BROKER_URL", "RUNNER_APP", "SHOP_NAMESPACE"):
        monkeypatch.setenv(name, shell.env[name])
    return here


def children(shell, pool) -> set[int]:
    started = {entry["pid"] for entry in shell.logged(pool, "pool.child_started")}
    return {pid for pid in started if Path(f"/proc/{pid}/stat").exists()}


def test_worker_and_scheduler_do_their_work_and_leave(shell, here, namespace):
    worker = shell.spawn_ready("worker.ready", "worker", "--grace", "5", "--build", "abc123")
    scheduler = shell.spawn_ready("leader.elected", "scheduler", "--namespace", namespace)
    done = here("start", "quick", ORDER, "--wait", "--key", "order-7")
    assert (done.code, done.out) == (0, "42\n"), done.err
    again = here("start", "quick", ORDER, "--key", "order-7", "--json")
    assert again.json()["execution_id"] in done.err
    other = here("start", "quick", '{"id": "7", "amount": 22}', "--key", "order-7")
    assert other.code == 1
    assert "another input" in other.err

    waiting = here("start", "approve", ORDER, "--delay", "10ms").out.strip()
    assert here("executions", "signal", waiting, "approved", '"ann"').code == 0
    watched = here("executions", "watch", waiting)
    assert watched.lines()[-1]["result"] == [42, "ann"]
    undeclared = here("executions", "signal", waiting, "refused")
    assert undeclared.code == 2
    assert "does not take signal 'refused'" in undeclared.err

    alive = here("workers", "list", "--json").json()["workers"]
    assert [one["build"] for one in alive] == ["abc123"]
    assert {known["name"] for known in alive[0]["workflows"]} >= {"quick", "approve"}

    for process in (worker, scheduler):
        process.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0, shell.err(worker)
    assert scheduler.wait(30) == 0, shell.err(scheduler)
    assert here("workers", "list", "--json").json()["workers"] == []


def test_started_by_name_without_the_code(shell, here, namespace, monkeypatch):
    monkeypatch.delenv("RUNNER_APP")
    assert here("start", "quick", ORDER, "--namespace", namespace).code == 4, "no worker knows it yet"
    shell.spawn_ready("worker.ready", "worker", "--grace", "1")
    done = here("start", "quick", ORDER, "--namespace", namespace, "--wait")
    assert (done.code, done.out) == (0, "42\n"), done.err


def test_steps_that_do_not_end_are_handed_back(shell, here):
    """One that runs on the loop, and one in a thread that nothing can stop."""
    worker = shell.spawn_ready("worker.ready", "worker", "--grace", "1")
    slow, stuck = here("start", "slow").out.strip(), here("start", "stuck").out.strip()
    shell.until(lambda: (shell.folder / "snoozing").exists() and (shell.folder / "staring").exists())
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0, shell.err(worker)
    assert shell.logged(worker, "process.threads_left_behind")
    for id in (slow, stuck):
        document = here("executions", "show", id, "--json").json()
        assert (document["status"], document["crashes"], document["lease_until"]) == ("pending", 0, None)
        assert here("executions", "cancel", id).code == 0


def test_a_second_signal_does_not_wait_for_the_grace(shell, here):
    worker = shell.spawn_ready("worker.ready", "worker", "--grace", "300")
    id = here("start", "slow").out.strip()
    shell.until((shell.folder / "snoozing").exists)
    worker.send_signal(signal.SIGTERM)
    shell.until(lambda: shell.logged(worker, "worker.draining"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0, shell.err(worker)
    assert here("executions", "show", id, "--json").json()["status"] == "pending"
    here("executions", "cancel", id)


def test_a_recycled_worker_leaves_by_itself(shell, here):
    worker = shell.spawn_ready("worker.ready", "worker", "--max-executions", "2", "--grace", "5")
    assert here("start", "quick", ORDER, "--wait").code == 0
    assert worker.poll() is None
    assert here("start", "quick", ORDER, "--wait").code == 0
    assert worker.wait(30) == 0, shell.err(worker)


def test_a_pool_replaces_who_dies_and_leaves_together(shell, here):
    host = shell.env["RUNNER_STORE_URL"].removeprefix("redis://").rpartition("@")[2]
    # A server without a password takes any of the default user; arguments must not show it.
    store = (
        f"redis://default:{PASSWORD}@{host}"
        if "@" not in shell.env["RUNNER_STORE_URL"]
        else shell.env["RUNNER_STORE_URL"]
    )
    pool = shell.spawn("worker", "--processes", "2", "--grace", "5", "--concurrency", "7", "--store", store)
    ready = "worker.ready"
    shell.until(lambda: len(shell.logged(pool, ready)) == 2, otherwise=lambda: shell.err(pool))
    assert [entry["concurrency"] for entry in shell.logged(pool, ready)] == [7, 7]
    first = children(shell, pool)
    assert len(first) == 2
    for pid in first:
        assert PASSWORD not in Path(f"/proc/{pid}/cmdline").read_text()
    assert here("start", "quick", ORDER, "--wait").code == 0

    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    shell.until(lambda: len(shell.logged(pool, ready)) == 3, otherwise=lambda: shell.err(pool))
    (ended,) = shell.logged(pool, "pool.child_ended")
    assert ended["code"] == -signal.SIGKILL

    pool.send_signal(signal.SIGTERM)
    assert pool.wait(40) == 0, shell.err(pool)
    assert len(shell.logged(pool, "worker.drained")) == 2
    assert not children(shell, pool)


def test_a_pool_dies_with_its_parent(shell):
    pool = shell.spawn("worker", "--processes", "2", "--grace", "1")
    shell.until(lambda: len(shell.logged(pool, "worker.ready")) == 2, otherwise=lambda: shell.err(pool))
    pool.kill()
    pool.wait()
    shell.until(lambda: not children(shell, pool))


def test_a_pool_of_what_cannot_start_ends_with_the_reason(shell):
    pool = shell.spawn("worker", "--processes", "2", "--app", "shop:nothing")
    assert pool.wait(60) == 2
    assert "has no attribute 'nothing'" in shell.err(pool)
    assert "Traceback" not in shell.err(pool)


# -- backends that are away -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["worker"], ["scheduler"], ["start", "quick", ORDER], ["executions", "list"], ["executions", "show", "x"]],
)
def test_a_store_that_is_away_is_named(here, closed_port, arguments):
    told = here(*arguments, "--store", f"redis://:{PASSWORD}@127.0.0.1:{closed_port}")
    assert (told.code, told.out) == (3, "")
    assert "the store is unreachable" in told.err
    assert f"127.0.0.1:{closed_port}" in told.err
    assert PASSWORD not in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize("arguments", [["worker"], ["scheduler"], ["start", "quick", ORDER]])
def test_a_broker_that_is_away_is_named(here, closed_port, arguments):
    told = here(*arguments, "--broker", f"amqp://me:{PASSWORD}@127.0.0.1:{closed_port}/")
    assert (told.code, told.out) == (3, "")
    assert "the broker is unreachable" in told.err
    assert PASSWORD not in told.err
    assert "Traceback" not in told.err


def test_looking_does_not_need_the_broker(here, closed_port):
    assert here("executions", "list", "--broker", f"amqp://127.0.0.1:{closed_port}/").code == 0


@pytest.mark.parametrize("arguments", [["worker"], ["scheduler"]])
def test_an_embedded_store_is_not_for_separate_processes(here, arguments):
    told = here(*arguments, "--store", "sqlite:///x.db")
    assert told.code == 2
    assert "runner dev" in told.err
