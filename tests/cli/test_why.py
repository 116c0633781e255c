"""`runner why`: what is said to people and to programs, and with which code it ends."""

from __future__ import annotations

import json
import signal

import pytest

from runner.cli.why import why_document, why_lines
from runner.records import Status
from runner.why import Reason, ReasonCode, Why

ORDER = '{"id": "7", "amount": 21}'
MINUTE = 60_000


def codes(said) -> list[str]:
    return [reason["code"] for reason in said.json()["reasons"]]


def test_each_reason_is_a_line_with_its_times_and_what_to_type():
    found = Why(
        execution_id="o 1",
        status=Status.SLEEPING,
        summary="order v1 is sleeping: it waits",
        reasons=(
            Reason(
                code=ReasonCode.WAITING_SIGNAL,
                text="it waits",
                since=0,
                until=3 * MINUTE,
                cure="runner executions signal 'o 1' go PAYLOAD",
                data={"signal": "go"},
            ),
            Reason(code=ReasonCode.NO_SCHEDULER, text="nobody leads"),
        ),
        now=MINUTE,
    )
    assert why_lines(found) == [
        "o 1: order v1 is sleeping: it waits",
        "- it waits [waiting_signal]",
        "    since 1970-01-01T00:00:00.000Z (0:01:00 ago), until 1970-01-01T00:03:00.000Z (in 0:02:00)",
        "    do: runner executions signal 'o 1' go PAYLOAD",
        "- nobody leads [no_scheduler]",
    ]
    document = why_document(found)
    assert (document["status"], document["now"]) == ("sleeping", "1970-01-01T00:01:00.000Z")
    assert [(one["code"], one["until"], one["cure"]) for one in document["reasons"]] == [
        ("waiting_signal", "1970-01-01T00:03:00.000Z", "runner executions signal 'o 1' go PAYLOAD"),
        ("no_scheduler", None, None),
    ]
    json.dumps(document)


def test_on_a_file_that_nobody_holds(here, shell):
    (shell.folder / ".runner").mkdir()
    where = ("--app", "shop:app", "--store", f"sqlite:///{shell.folder}/state.db")
    (shell.folder / "state.db").touch()
    started = here("start", "quick", ORDER, "--id", "o1", *where)
    assert started.code == 0, started.err
    told = here("why", "o1", *where)
    assert told.code == 0, told.err
    assert told.out.startswith("o1: quick v1 is pending: no worker is alive\n- no worker is alive [no_worker]\n")
    assert "    do: runner dev\n" in told.out
    assert codes(here("why", "o1", *where, "--json"))[:2] == ["no_worker", "no_scheduler"]
    unknown = here("why", "nobody", *where)
    assert unknown.code == 4
    assert "may be past its retention" in unknown.err
    assert here("executions", "cancel", "o1", "--reason", "a \x1b[31mred one", *where).code == 0
    ended = here("why", "o1", *where)
    assert "it was cancelled: a \\x1b[31mred one [ended]" in ended.out
    assert "\x1b" not in ended.out


@pytest.fixture
def fleet(here, shell, redis_url, rabbit_url, namespace, monkeypatch):
    """Commands and processes on Redis and RabbitMQ."""
    shell.env |= {"RUNNER_STORE_URL": redis_url, "RUNNER_BROKER_URL": rabbit_url, "SHOP_NAMESPACE": namespace}
    shell.env["RUNNER_APP"] = "shop:app"
    for name in ("RUNNER_STORE_URL", "RUNNER_BROKER_URL", "RUNNER_APP", "SHOP_NAMESPACE"):
        monkeypatch.setenv(name, shell.env[name])
    return here


def test_a_broker_that_is_away_is_a_reason(fleet, closed_port):
    assert fleet("start", "quick", ORDER, "--id", "o1").code == 0
    away = f"amqp://runner:hunter2@127.0.0.1:{closed_port}/"
    told = fleet("why", "o1", "--broker", away, "--json")
    assert told.code == 0, told.err
    assert codes(told)[:3] == ["no_worker", "broker_unreachable", "no_scheduler"]
    assert "hunter2" not in told.out
    assert "broker_unreachable" not in codes(fleet("why", "o1", "--json"))


def test_a_worker_that_was_stopped_and_nobody_who_takes_over(fleet, shell):
    worker = shell.spawn_ready("worker.ready", "worker", "--lease", "2", "--log-format", "json")
    assert fleet("start", "slow", "--id", "o1").code == 0
    shell.until(lambda: codes(fleet("why", "o1", "--json"))[0] == "running")
    worker.send_signal(signal.SIGSTOP)
    shell.until(lambda: codes(fleet("why", "o1", "--json"))[:2] == ["lease_overdue", "no_scheduler"])
    told = fleet("why", "o1")
    assert "has run out" in told.out
    assert "    do: runner scheduler\n" in told.out
