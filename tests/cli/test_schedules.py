"""`runner schedules`: through `runner dev`, on a file that nobody holds, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.cli.ensuring import _bar
from tests.cli.conftest import Said, Shell

ORDER = '{"id": "7", "amount": 4}'


@pytest.fixture
def on(here: Callable[..., Said], shell: Shell) -> Callable[..., Said]:
    """A command on a store that nobody holds."""
    file: Path = shell.folder / "state.db"
    file.touch()

    def on(*arguments: str) -> Said:
        return here("schedules", *arguments, "--store", f"sqlite:///{file}", "--app", "shop:app")

    return on


def test_a_day_with_schedules(shell: Shell, here: Callable[..., Said]) -> None:
    """Everything through the door, as a person would."""
    shell.spawn_ready("dev.ready", "dev", "--app", "shop:app")
    made = here("schedules", "ensure", "quick", ORDER, "--id", "often", "--interval", "200ms", "--json")
    assert made.code == 0, made.err
    assert (made.json()["state"], made.json()["interval_ms"]) == ("on", 200)
    assert made.json()["input"]["amount"] == 4

    shell.until(lambda: here("schedules", "show", "often", "--json").json()["last_result"] == "completed")
    paused = here("schedules", "pause", "often", "--note", "stock-taking")
    assert "paused: stock-taking" in paused.out
    listed = here("schedules", "list", "--json").json()["schedules"]
    assert [(one["id"], one["state"], one["note"]) for one in listed] == [("often", "paused", "stock-taking")]
    assert "often" in here("schedules", "list").out

    triggered = here("schedules", "trigger", "often")
    assert triggered.out.startswith("often@"), triggered.err
    assert here("executions", "watch", triggered.out.strip()).code == 0
    assert here("schedules", "resume", "often", "--json").json()["state"] == "on"
    assert here("schedules", "remove", "often").out == "removed often\n"
    assert here("schedules", "list", "--json").json() == {"schedules": []}


def test_the_next_five_are_shown_by_its_own_clocks(on: Callable[..., Said]) -> None:
    made = on("ensure", "quick", ORDER, "--id", "daily", "--cron", "30 3 * * *", "--timezone", "Europe/Bucharest")
    assert made.code == 0, made.err
    shown = on("show", "daily").out
    assert "30 3 * * * Europe/Bucharest" in shown
    assert shown.count("T03:30:00+0") >= 5
    fires = on("show", "daily", "--json").json()["next"]
    assert len(fires) == 5
    assert {datetime.fromisoformat(fire).hour for fire in fires} == {3}


def test_everything_that_a_schedule_can_be_told(on: Callable[..., Said]) -> None:
    told = ["ensure", "quick", "--id", "all", "--interval", "1h", "--overlap", "skip", "--all-within", "5s"]
    told += ["--then", "all", "--window", "2h", "--jitter", "30s", "--max-runs", "9", "--timeout", "5m"]
    told += ["--start-at", "2027-03-13T09:00Z", "--end-at", "2028-03-13T09:00+02:00", "--queue", "big"]
    told += ["--attribute", "x=7"]
    made = on(*told, "--json", ORDER)
    assert made.code == 0, made.err
    shown = made.json()
    assert {name: shown[name] for name in ("overlap", "catch_up", "jitter_ms", "max_runs", "timeout_ms", "queue")} == {
        "overlap": "skip",
        "catch_up": {"all_within_ms": 5_000, "then": "all", "window_ms": 7_200_000},
        "jitter_ms": 30_000,
        "max_runs": 9,
        "timeout_ms": 300_000,
        "queue": "big",
    }
    assert (shown["start_at"], shown["end_at"]) == ("2027-03-13T09:00:00.000Z", "2028-03-13T07:00:00.000Z")
    again = on(*told, "--json", ORDER).json()
    assert (again["updated_at"], again["next"]) == (shown["updated_at"], shown["next"])


def test_a_backfill_prints_what_it_ran_and_runs_none_again(on: Callable[..., Said]) -> None:
    on("ensure", "quick", ORDER, "--id", "hourly", "--cron", "@hourly")
    day = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    span = ("--from", day.isoformat(), "--to", (day + timedelta(hours=5)).isoformat())
    first = on("backfill", "hourly", *span)
    assert first.code == 0, first.err
    assert len(first.out.splitlines()) == 6
    assert first.out.startswith(f"hourly@{day:%Y%m%dT%H}0000Z\n")
    assert on("backfill", "hourly", *span, "--json").json() == {"executions": first.out.split()}
    assert on("backfill", "hourly", "--from", span[3], "--to", span[1]).code == 2


def test_a_bar_shows_how_far_a_backfill_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _bar() is None, "not in a pipe"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bar = _bar()
    assert bar is not None
    for done in (0, 5, 10):
        bar(done, 10)
    told = capsys.readouterr()
    assert "backfill" in told.err
    assert "100%" in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "missing"), 4, "no schedule 'missing'"),
        (("pause", "missing"), 4, "no schedule 'missing'"),
        (("remove", "missing"), 4, "no schedule 'missing'"),
        (("trigger", "missing"), 4, "no schedule 'missing'"),
        (("ensure", "unknown", "--id", "s", "--interval", "1h"), 4, "no workflow 'unknown'"),
        (("ensure", "quick", ORDER, "--id", "s"), 2, "cron="),
        (("ensure", "quick", ORDER, "--id", "s", "--cron", "0 0 31 2 *"), 2, "0 0 31 2"),
        (("ensure", "quick", ORDER, "--id", "s", "--interval", "1h", "--timezone", "Europe/Berlin"), 2, "timezone"),
        (("ensure", "quick", ORDER, "--id", "s", "--interval", "1h", "--start-at", "2027-03-13T09:00"), 2, "offset"),
        (("ensure", "quick", ORDER, "--id", "s", "--interval", "1h", "--start-at", "soon"), 2, "2027-03-13T09:00Z"),
        (("ensure", "quick", '{"id": 7}', "--id", "s", "--interval", "1h"), 2, "amount"),
    ],
)
def test_what_is_wrong_is_said_with_its_code(
    on: Callable[..., Said], arguments: tuple[str, ...], code: int, words: str
) -> None:
    said = on(*arguments)
    assert said.code == code, said.err
    assert words in said.err
    assert on("list", "--json").json() == {"schedules": []}
