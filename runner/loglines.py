"""How lines of the log look, made with structlog: plain for who has configured nothing, JSON or a console's for our processes.

Loaded with the first line: structlog brings rich along where that is installed, a good part of a short command's time.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def bound(name: str, level: int) -> Any:
    """Where the program's own configuration says; else lines from ``level`` up, on stderr."""
    return structlog.get_logger(name) if structlog.is_configured() else _plain(level)


def _plain(level: int) -> Any:
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )


def _shared() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Plain text, no local variables: a traceback with locals prints passwords.
        structlog.processors.format_exc_info,
    ]


def through_logging(level: int) -> None:
    """Have structlog hand its lines to ``logging``."""
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def formatter(*, as_json: bool) -> logging.Formatter:
    """For lines of ours, and those of the libraries underneath."""
    rendering: list[Any] = [structlog.processors.JSONRenderer()] if as_json else [_escape, _plain_console()]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )


def _plain_console() -> Any:
    """Lines for people. The traceback comes as text already: a formatter of exceptions would print local variables."""
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def _escape(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Control characters in data could forge log lines or drive a terminal: show them escaped. (JSON escapes by itself.)"""
    return {
        _printable(key): _indented(value) if key == "exception" else _printable(value) for key, value in event.items()
    }


def _indented(traceback: Any) -> Any:
    """A traceback has lines, and what was raised may have some of its own: none of them begins as an event does."""
    if not isinstance(traceback, str):
        return traceback
    return "\n".join(f"  {_printable(line)}" for line in re.split(r"[\n\r\x0b\x0c\x85\u2028\u2029]", traceback))


def _printable(value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in value)
