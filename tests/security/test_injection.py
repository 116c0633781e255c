"""Names, ids and errors come from data: none of them forges a log line, drives a terminal, or is changed in JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from runner import log
from runner.cli.output import put_json, put_table, say

NASTY = "a\x1b[2J\r\n2026-01-01T00:00:00Z [error] forged\u202eb\x9b31m\u2028c"
ACTS = ("\x1b", "\r", "\u202e", "\x9b", "\u2028")


@pytest.fixture
def configured() -> Iterator[None]:
    """Logging as a process has it, and as it was before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("aio_pika", "aiormq", "redis", "asyncio")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, kept in levels.items():
        logging.getLogger(name).setLevel(kept)
    structlog.reset_defaults()


def say_everything() -> None:
    """A field, a value inside a field, a field's name, another library's text, an exception."""
    logger = log.Logger("runner.test")
    logger.info("execution.completed", execution_id=NASTY, names=[NASTY], **{NASTY: 1})
    logging.getLogger("foreign").warning("it says %s", NASTY)
    try:
        raise ValueError(NASTY)
    except ValueError:
        logger.exception("turn.broken")


def test_a_console_line_is_one_line_and_acts_on_nothing(configured, capsys) -> None:
    log.configure(json=False)
    say_everything()
    told = capsys.readouterr().err
    styled = told.replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[2m", "")
    for colour in range(30, 38):
        styled = styled.replace(f"\x1b[{colour}m", "")
    assert not [char for char in ACTS if char in styled]
    begun = [line for line in styled.splitlines() if line and not line.startswith("  ")]
    assert len(begun) == 3, styled
    assert not [line for line in begun if line.startswith("2026-01-01")]
    assert r"\x1b[2J" in styled and r"\u202e" in styled


def test_json_lines_hold_exactly_what_was_said(configured, capsys) -> None:
    log.configure(json=True)
    say_everything()
    lines = capsys.readouterr().err.splitlines()
    first, foreign, broken = map(json.loads, lines)
    assert (first["execution_id"], first["names"], first[NASTY]) == (NASTY, [NASTY], 1)
    assert foreign["event"] == f"it says {NASTY}"
    assert broken["exception"].endswith(f"ValueError: {NASTY}")
    assert "".join(lines).isascii()


def test_no_traceback_shows_local_variables(configured, capsys) -> None:
    password = "s3cret-" + "canary"
    for as_json in (True, False):
        log.configure(json=as_json)
        try:
            raise ValueError(len(password))
        except ValueError:
            log.Logger("runner.test").exception("turn.broken")
        logging.getLogger("aiormq").debug("frame with %s", password)
        logging.getLogger("aiormq").error("frame with %s", password)
    told = capsys.readouterr().err
    assert told.count("Traceback") == 2
    assert password not in told


def test_tables_talk_and_json_of_the_command_line(capsys) -> None:
    put_table(("id", "error"), [(NASTY, NASTY)])
    table = capsys.readouterr().out
    assert not [char for char in ACTS if char in table]
    assert len(table.splitlines()) == 2
    say(NASTY)
    assert not [char for char in ACTS if char in capsys.readouterr().err]
    put_json({NASTY: [NASTY]})
    document = capsys.readouterr().out
    assert json.loads(document) == {NASTY: [NASTY]}
    assert not [char for char in ACTS if char in document]
