"""What a program pays for importing Runner: nothing that it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = {"aio_pika", "aiormq", "click", "croniter", "redis", "rich", "sqlite3", "structlog"}


def said(code: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def loaded(code: str) -> set[str]:
    return set(json.loads(said(f"{code}\nimport json; print(json.dumps(list(sys.modules)))").stdout)) & HEAVY


def test_a_producers_import_loads_no_server_no_cron_and_no_logging() -> None:
    assert loaded("from runner import App, Client, Context, Retry, Signal, step") == set()


def test_what_makes_lines_is_loaded_with_the_first_line() -> None:
    quiet = "from runner.log import Logger\nlog = Logger('one'); log.debug('not.said'); log.info('not.said')"
    assert loaded(quiet) == set()
    told = said(f"{quiet}\nlog.warning('it.is.said', number=1)").stderr
    assert "it.is.said" in told and "not.said" not in told


def test_a_command_that_runs_nobodys_code_loads_it_late_and_says_the_same() -> None:
    begun = "from runner import log; log.configure('warning', json=True, alone={})\none = log.Logger('one'); one.info('not.said')"
    assert loaded(begun.format(True)) == set()
    assert "structlog" in loaded(begun.format(False))
    lines = "one.warning('it.is.said', number=1); import logging; logging.getLogger('redis').error('so do they')"
    told = [
        [json.loads(line) for line in said(f"{begun.format(alone)}\n{lines}").stderr.splitlines()]
        for alone in (True, False)
    ]
    for line in (*told[0], *told[1]):
        del line["timestamp"]
    assert told[0] == told[1]
    assert [line["event"] for line in told[0]] == ["it.is.said", "so do they"]
