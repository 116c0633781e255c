"""The root: light, and clear about where a value came from and what went wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from runner import errors
from runner.cli.exits import Exit, exit_of, said
from runner.cli.options import duration, names
from runner.cli.root import root

ROOT = Path(__file__).parents[2]


def test_help_loads_neither_servers_clients_nor_cron():
    code = """
import sys
from runner.cli import main
try:
    main(["--help"])
except SystemExit as left:
    assert not left.code
heavy = {"redis", "aio_pika", "croniter", "msgspec", "structlog", "rich", "sqlite3"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "executions" in done.stdout


def test_every_command_that_help_names_loads_and_has_help(call):
    for name in root.list_commands(click.Context(root)):
        told = call(name, "--help")
        assert told.code == 0
        assert "Usage: runner" in told.out


def test_help_shows_the_variables(call):
    told = call("worker", "--help").out.replace("\n", " ")
    for variable in ("APP", "STORE_URL", "BROKER_URL", "QUEUES", "CONCURRENCY", "LOG_LEVEL", "LOG_FORMAT", "BUILD"):
        assert f"RUNNER_{variable}" in told


def test_version(call):
    told = call("--version")
    assert told.code == 0
    assert told.out.startswith("runner ")


@pytest.mark.parametrize("arguments", [["nonsense"], ["worker"], ["worker", "--concurrency", "0"], ["start"]])
def test_usage_errors_end_with_2(call, arguments):
    told = call(*arguments)
    assert (told.code, told.out) == (2, "")
    assert "Error" in told.err


def test_completion_scripts(call):
    assert "_RUNNER_COMPLETE" in call("completion", "zsh").out


def test_module_and_script_are_the_same():
    done = subprocess.run(
        [sys.executable, "-m", "runner", "--version"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("runner ")


# -- errors as documents -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "exit", "words"),
    [
        (("executions", "show", "missing"), "UnknownExecution", 4, "no execution 'missing'"),
        (("why", "missing"), "UnknownExecution", 4, "no execution 'missing'"),
        (("schedules", "show", "missing"), "UnknownSchedule", 4, "no schedule 'missing'"),
        (("executions", "force-fail", "missing", "--reason", "x"), "UsageError", 2, "say --yes"),
        (("executions", "list", "--limit", "0"), "UsageError", 2, "--limit"),
        (("executions", "list", "--status", "timed_out"), "UsageError", 2, "a cause of failed ones"),
        (("executions", "lost"), "UsageError", 2, "No such command"),
        (("queues", "list"), "ConfigError", 2, "keeps its queues in memory"),
    ],
)
def test_with_json_an_error_is_a_document_too(call, project, arguments, code, exit, words):
    (project / "state.db").touch()
    where = () if "lost" in arguments else ("--namespace", "shop", "--store", "sqlite:///state.db")
    told = call(*arguments, *where, "--json")
    document = told.json()
    assert (told.code, document["exit"], document["code"]) == (exit, exit, code)
    assert words in document["error"]
    assert words in told.err, "and people read it all the same"
    assert call(*arguments, *where).out == ""


def test_json_may_be_asked_for_by_a_variable(call, project, monkeypatch):
    (project / "state.db").touch()
    monkeypatch.setenv("RUNNER_WHY_AS_JSON", "1")
    told = call("why", "missing", "--namespace", "shop", "--store", "sqlite:///state.db")
    assert (told.code, told.json()["code"]) == (4, "UnknownExecution")


def test_a_cause_is_told_from_a_status(call):
    told = call("executions", "list", "--status", "timed_out")
    assert "pending, running, sleeping" in told.err
    assert "timed_out is a cause of failed ones" in told.err
    assert "cause" not in call("executions", "list", "--status", "nonsense").err


# -- exit codes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), Exit.USAGE),
        (errors.AppNotFound("x"), Exit.USAGE),
        (errors.PayloadError("x"), Exit.USAGE),
        (errors.UndeclaredSignal("x"), Exit.USAGE),
        (errors.ConflictingStart("x", execution_id="x"), Exit.FAILED),
        (errors.ExecutionFailed("x", execution_id="x"), Exit.FAILED),
        (errors.WaitTimeout("x", execution_id="x"), Exit.FAILED),
        (errors.Overloaded("x"), Exit.FAILED),
        (errors.StoreUnavailable("x"), Exit.UNREACHABLE),
        (errors.BrokerUnavailable("x"), Exit.UNREACHABLE),
        (errors.UnknownExecution("x"), Exit.NOT_FOUND),
        (errors.UnknownWorkflow("x"), Exit.NOT_FOUND),
        (errors.UnknownSchedule("x"), Exit.NOT_FOUND),
        (errors.ConflictingSchedule("x"), Exit.FAILED),
    ],
)
def test_exit_codes(error, code):
    assert exit_of(error) is code


def test_a_backend_that_is_away_is_named_with_a_cure():
    assert said(errors.StoreUnavailable("no")).startswith("the store is unreachable: no")
    assert "RUNNER_BROKER_URL" in said(errors.BrokerUnavailable("no"))


# -- where values come from ----------------------------------------------------------------------------------

APP = "from runner import App\napp = App({!r})\n@app.workflow()\nasync def flow(ctx): ...\n"


@pytest.fixture
def apps(project):
    """Modules one_app … four_app, each with an app of its name."""
    for name in ("one", "two", "three", "four"):
        (project / f"{name}_app.py").write_text(APP.format(name))
    yield project
    for name in ("one", "two", "three", "four"):
        sys.modules.pop(f"{name}_app", None)


def checked(call, *arguments):
    told = call(*arguments)
    assert told.code == 0, told.err
    return told.json()["app"]


def test_flag_over_variable_over_table_over_file(call, apps, monkeypatch):
    config = apps / "runner.toml"
    config.write_text('app = "four_app:app"\n')
    assert checked(call, "--config", str(config), "check", "--json") == "four"
    config.write_text('app = "four_app:app"\n[check]\napp = "three_app:app"\n')
    assert checked(call, "--config", str(config), "check", "--json") == "three"
    monkeypatch.setenv("RUNNER_APP", "two_app:app")
    assert checked(call, "--config", str(config), "check", "--json") == "two"
    assert checked(call, "--config", str(config), "check", "--json", "--app", "one_app:app") == "one"


def test_the_file_may_be_named_by_a_variable_and_write_dashes(call, apps, monkeypatch):
    (apps / "inner").mkdir()
    (apps / "inner" / "one_app.py").write_text(APP.format("inner"))
    config = apps / "runner.toml"
    config.write_text(f'app = "one_app:app"\napp-dir = "{apps / "inner"}"\n')
    monkeypatch.setenv("RUNNER_CONFIG", str(config))
    assert checked(call, "check", "--json") == "inner"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("app = [", "runner.toml: "),
        ("ap = 'x'", "nothing is called 'ap'; did you mean 'app'?"),
        ("[worker]\nconcurency = 5", "worker has no option 'concurency'; did you mean 'concurrency'?"),
        ("worker = 5", "'worker' is a command"),
        ("[worker]\nconcurrency = 'many'", "'many' is not a valid integer"),
    ],
)
def test_mistakes_in_the_file_are_named(call, project, text, complaint):
    (project / "runner.toml").write_text(text)
    told = call("--config", "runner.toml", "worker", "--app", "x:y")
    assert told.code == 2
    assert complaint in told.err


def test_tables_of_commands_in_groups(call, project):
    (project / "runner.toml").write_text("[executions.list]\nlimits = 5\n")
    assert "list has no option 'limits'" in call("--config", "runner.toml", "executions", "list").err


def test_a_secret_may_lie_in_a_file(call, apps, monkeypatch):
    """The URL is used (refused by name), and its password is not shown."""
    (apps / "secret").write_text("ftp://me:hunter2@host/\n")
    monkeypatch.setenv("RUNNER_STORE_URL_FILE", str(apps / "secret"))
    told = call("executions", "list", "--namespace", "shop")
    assert told.code == 2
    assert "ftp://me:***@host/" in told.err
    assert "hunter2" not in told.err


def test_a_secret_file_that_is_not_there(call, monkeypatch):
    monkeypatch.setenv("RUNNER_STORE_URL_FILE", "/nowhere/secret")
    told = call("executions", "list", "--namespace", "shop")
    assert told.code == 2
    assert "RUNNER_STORE_URL_FILE=/nowhere/secret" in told.err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5h", 5400), ("2d", 172800), ("250ms", 0.25), (" 3 m ", 180), (7, 7)]
)
def test_durations(text, seconds):
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 years", "9" * 30 + "w"])
def test_what_is_no_duration(text):
    with pytest.raises(click.BadParameter):
        duration(text)


def test_names_come_once_each():
    assert names("b, a,b") == ("b", "a")
    assert names(["a"]) == ("a",)
    with pytest.raises(click.BadParameter):
        names("a,,b")
