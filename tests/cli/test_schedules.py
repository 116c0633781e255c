"""`runner schedules`: through `runner dev`, on a file that nobody holds, on servers, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.cli.backfilling import shown
from tests.cli.conftest import Said, Shell

ORDER = '{"id": "7", "amount": 4}'
HOURLY = ("--interval", "1h")


@pytest.fixture
def on(here: Callable[..., Said], shell: Shell) -> Callable[..., Said]:
    """A command on a store that nobody holds."""
    file: Path = shell.folder / "state.db"
    file.touch()

    def on(*arguments: str, **more: Any) -> Said:
        return here("schedules", *arguments, "--store", f"sqlite:///{file}", "--app", "shop:app", **more)

    return on


def test_a_day_with_schedules(shell: Shell, here: Callable[..., Said]) -> None:
    """Everything through the door, as a person would."""
    shell.spawn_ready("dev.ready", "dev", "--app", "shop:app")
    made = here("schedules", "ensure", "quick", ORDER, "--id", "often", "--interval", "200ms", "--json")
    assert made.code == 0, made.err
    assert (made.json()["state"], made.json()["interval_ms"], made.json()["last"]) == ("new", 200, None)

    def look() -> Any:
        return here("schedules", "show", "often", "--json").json()

    shell.until(lambda: (look()["last"] or {}).get("status") == "completed")
    seen = look()
    assert (seen["state"], seen["healthy"], seen["error"]) == ("ok", True, None)
    assert seen["last"]["execution_id"].startswith("often@")
    assert (seen["last"]["result"], seen["input"]) == (8, {"id": "7", "amount": 4})
    assert seen["lag_ms"] is not None

    paused = here("schedules", "pause", "often", "--note", "stock-taking")
    assert paused.out == "often  paused: stock-taking\n"
    listed = here("schedules", "list", "--json").json()
    assert [(one["id"], one["paused"], one["note"], one["next_fires"]) for one in listed["schedules"]] == [
        ("often", True, "stock-taking", [])
    ]
    table = here("schedules", "list").out
    assert "every 200ms" in table
    assert "paused: stock-taking" in table
    assert "completed 8" in table

    later = here("start", "quick", ORDER, "--at", "2127-01-01T09:00:00Z").out.strip()
    triggered = here("schedules", "trigger", "often")
    assert triggered.out.startswith("often@"), triggered.err
    assert here("executions", "watch", triggered.out.strip()).lines()[-1]["result"] == 8
    assert here("executions", "show", later, "--json").json()["status"] == "pending"
    assert here("schedules", "resume", "often", "--json").json()["state"] == "ok"
    assert here("schedules", "remove", "often", "--yes").code == 0
    assert here("schedules", "list", "--json").json() == {"schedules": [], "after": None}


def test_on_servers(
    shell: Shell,
    here: Callable[..., Said],
    redis_url: str,
    rabbit_url: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ensured by name, without the code and without the broker; run by processes."""
    for name, value in {"RUNNER_STORE_URL": redis_url, "SHOP_NAMESPACE": namespace, "RUNNER_APP": "shop:app"}.items():
        shell.env[name] = value
    shell.env["RUNNER_BROKER_URL"] = rabbit_url
    monkeypatch.setenv("RUNNER_STORE_URL", redis_url)
    monkeypatch.setenv("RUNNER_NAMESPACE", namespace)
    shell.spawn_ready("worker.ready", "worker", "--grace", "1")
    made = here("schedules", "ensure", "quick", ORDER, "--id", "often", "--interval", "300ms")
    assert made.code == 0, made.err
    shell.spawn_ready("leader.elected", "scheduler", "--namespace", namespace)
    shell.until(lambda: "completed 8" in here("schedules", "list").out)
    triggered = here("schedules", "trigger", "often", "--json", "--broker", rabbit_url)
    assert triggered.json()["schedule_id"] == "often", triggered.err
    assert here("schedules", "remove", "often", "--yes", "--json").json() == {"schedule_id": "often", "removed": True}


# -- looking ------------------------------------------------------------------------------------------


def test_the_next_five_are_shown_by_its_own_clocks(on: Callable[..., Said]) -> None:
    made = on("ensure", "quick", ORDER, "--id", "daily", "--cron", "30 3 * * *", "--timezone", "Europe/Bucharest")
    assert made.out.startswith("daily  new  next "), made.err
    shown = on("show", "daily").out
    assert "30 3 * * * Europe/Bucharest" in shown
    assert shown.count(" 03:30 EE") == 5
    fires = on("show", "daily", "--json").json()["next_fires"]
    assert len(fires) == 5
    assert {datetime.fromisoformat(fire).hour for fire in fires} == {3}
    assert on("list").out.count("03:30") == 5


def test_a_list_has_pages(on: Callable[..., Said]) -> None:
    for id in ("a", "b", "c"):
        on("ensure", "quick", ORDER, "--id", id, *HOURLY)
    first = on("list", "--limit", "2")
    assert "--after b" in first.err
    second = on("list", "--limit", "2", "--after", "b", "--json").json()
    assert ([one["id"] for one in second["schedules"]], second["after"]) == (["c"], None)


def test_what_nobody_runs_is_overdue(on: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.cli.schedule_views.OVERDUE_MS", 0)
    on("ensure", "quick", ORDER, "--id", "s", "--interval", "1ms")
    seen = on("show", "s", "--json").json()
    assert (seen["state"], seen["healthy"], len(seen["next_fires"])) == ("overdue", False, 5)
    assert seen["lag_ms"] > 0


# -- making and changing ------------------------------------------------------------------------------


def test_everything_that_a_schedule_can_be_told(on: Callable[..., Said]) -> None:
    told = [
        *("ensure", "quick", "--id", "all", "--interval", "1h", "--overlap", "skip", "--queue", "big"),
        *("--all-within", "5s", "--then", "all", "--window", "2h", "--jitter", "30s", "--max-runs", "9"),
        *("--start-at", "2027-03-13T09:00Z", "--end-at", "2028-03-13T09:00+02:00"),
        *("--timeout", "5m", "--attribute", "x=7"),
    ]
    made = on(*told, "--json", "--input", ORDER)
    assert made.code == 0, made.err
    expected = {
        "overlap": "skip",
        "catch_up": {"all_within_ms": 5_000, "then": "all", "window_ms": 7_200_000},
        "jitter_ms": 30_000,
        "max_runs": 9,
        "timeout_ms": 300_000,
        "queue": "big",
        "start_at": "2027-03-13T09:00:00.000Z",
        "end_at": "2028-03-13T07:00:00.000Z",
    }
    seen = made.json()
    assert {name: seen[name] for name in expected} == expected
    assert list(seen["attributes"]) == ["x"]
    again = on(*told, "--json", ORDER).json()
    assert (again["updated_at"], again["next_fires"]) == (seen["updated_at"], seen["next_fires"])


def test_an_update_changes_what_is_said_and_nothing_else(on: Callable[..., Said]) -> None:
    ensured = ("--max-runs", "9", "--then", "all", "--window", "2h")
    before = on("ensure", "quick", ORDER, "--id", "s", *HOURLY, *ensured, "--json").json()
    after = on("update", "s", "--input", '{"id": "8", "amount": 5}', "--all-within", "5s", "--json").json()
    assert after["catch_up"] == {"all_within_ms": 5_000, "then": "all", "window_ms": 7_200_000}
    assert (after["next_fires"], after["max_runs"]) == (before["next_fires"], 9)
    assert on("show", "s", "--json").json()["input"]["id"] == "8"
    assert on("update", "s", "--clear", "max-runs", "--json").json()["max_runs"] is None
    rearmed = on("update", "s", "--cron", "@daily", "--timezone", "Europe/Berlin", "--json").json()
    assert (rearmed["cron"], rearmed["interval_ms"], rearmed["timezone"]) == ("@daily", None, "Europe/Berlin")


def test_removing_asks(on: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    on("ensure", "quick", ORDER, "--id", "s", *HOURLY)
    refused = on("remove", "s")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    monkeypatch.setattr("runner.cli.asking._asks", lambda: True)
    assert on("remove", "s", input="n\n").code == 130
    assert on("show", "s").code == 0
    assert on("remove", "s", input="y\n").code == 0
    again = on("remove", "s", "--yes")
    assert (again.code, again.out) == (4, "")
    assert "no schedule 's'" in again.err


# -- running ticks ------------------------------------------------------------------------------------


def test_a_backfill_runs_each_tick_once(on: Callable[..., Said], here: Callable[..., Said], shell: Shell) -> None:
    on("ensure", "quick", ORDER, "--id", "hourly", "--cron", "@hourly")
    day = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    span = ("--start", day.isoformat(), "--end", (day + timedelta(hours=5)).isoformat())
    first = on("backfill", "hourly", *span)
    assert (first.code, first.out) == (0, "hourly  6 ticks run\n"), first.err
    again = on("backfill", "hourly", *span, "--per-second", "1000", "--json").json()["executions"]
    assert again[0] == f"hourly@{day:%Y%m%dT%H}0000Z"
    store = ("--store", f"sqlite:///{shell.folder / 'state.db'}", "--app", "shop:app")
    listed = here("executions", "list", "--json", *store).json()["executions"]
    assert {one["id"] for one in listed} == set(again)
    assert len(listed) == 6


def test_a_bar_shows_how_far_a_backfill_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with shown("hourly") as progress:
        assert progress is None, "not in a pipe"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with shown("hour[bold]ly") as progress:
        assert progress is not None
        for done in (0, 5, 10):
            progress(done, 10)
    told = capsys.readouterr()
    assert "hour[bold]ly" in told.err
    assert "10/10" in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--at", "2020-01-01T09:00:00Z"), "past"),
        (("--at", "2127-01-01T09:00:00"), "no time zone"),
        (("--at", "2127-01-01T09:00:00Z", "--delay", "1h"), "either"),
    ],
)
def test_a_moment_that_cannot_be_meant_starts_nothing(
    here: Callable[..., Said], shell: Shell, arguments: tuple[str, ...], words: str
) -> None:
    (shell.folder / "state.db").touch()
    store = ("--store", f"sqlite:///{shell.folder / 'state.db'}", "--app", "shop:app")
    refused = here("start", "quick", ORDER, *arguments, *store)
    assert (refused.code, words in refused.err) == (2, True), refused.err
    assert here("executions", "list", "--json", *store).json()["executions"] == []


# -- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "missing"), 4, "no schedule 'missing'"),
        (("pause", "missing"), 4, "no schedule 'missing'"),
        (("resume", "missing"), 4, "no schedule 'missing'"),
        (("update", "missing", "--jitter", "1s"), 4, "no schedule 'missing'"),
        (("trigger", "missing"), 4, "no schedule 'missing'"),
        (("backfill", "missing", "--start", "2026-01-01T00Z", "--end", "2026-01-02T00Z"), 4, "no schedule 'missing'"),
        (("backfill", "s", "--start", "2026-01-02T00Z", "--end", "2026-01-01T00Z"), 2, "before"),
        (("ensure", "unknown", "--id", "s", *HOURLY), 4, "no workflow 'unknown'"),
        (("ensure", "quick", ORDER, "--id", "s"), 2, "cron="),
        (("ensure", "quick", ORDER, "--id", "s", "--cron", "0 0 31 2 *"), 2, "0 0 31 2"),
        (("ensure", "quick", ORDER, "--id", "s", *HOURLY, "--timezone", "Europe/Berlin"), 2, "timezone"),
        (("ensure", "quick", ORDER, "--id", "s", *HOURLY, "--cron", "@daily"), 2, "one of the two"),
        (("ensure", "quick", ORDER, "--id", "s", *HOURLY, "--start-at", "2027-03-13T09:00"), 2, "no time zone"),
        (("ensure", "quick", ORDER, "--id", "s", *HOURLY, "--start-at", "soon"), 2, "2027-01-01T09:00:00Z"),
        (("ensure", "quick", '{"id": 7}', "--id", "s", *HOURLY), 2, "amount"),
        (("ensure", "quick", ORDER, "--input", ORDER, "--id", "s", *HOURLY), 2, "once"),
    ],
)
def test_what_is_wrong_is_said_with_its_code(
    on: Callable[..., Said], arguments: tuple[str, ...], code: int, words: str
) -> None:
    said = on(*arguments)
    assert (said.code, said.out) == (code, ""), said.err
    assert words in said.err
    assert on("list", "--json").json()["schedules"] == []


def test_an_id_of_another_workflow(on: Callable[..., Said]) -> None:
    on("ensure", "quick", ORDER, "--id", "s", *HOURLY)
    taken = on("ensure", "approve", ORDER, "--id", "s", *HOURLY)
    assert (taken.code, "belongs to workflow 'quick'" in taken.err) == (1, True)
