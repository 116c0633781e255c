"""Logging: structlog events with dotted constant names; data in fields, never in the text."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Generator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog

_muted: ContextVar[bool] = ContextVar("runner_log_muted", default=False)


@contextmanager
def muted() -> Generator[None]:
    """Nothing is logged in here, nor by the tasks that are created in here: for what goes wrong on purpose."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


class Logger:
    """Logs where the program's own structlog configuration says.

    A program that has none gets lines from ``level`` up, on stderr: a library does not write between what the
    program prints.
    """

    def __init__(self, name: str, *, level: int = logging.WARNING, **fields: Any) -> None:
        self._name = name
        self._level = level
        self._fields = fields

    def debug(self, event: str, **fields: Any) -> None:
        self._say("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._say("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._say("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._say("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """As ``error``, with the traceback of the exception being handled."""
        self._say("error", event, {"exc_info": True, **fields})

    def _say(self, method: str, event: str, fields: dict[str, Any]) -> None:
        if _muted.get():
            return
        logger = structlog.get_logger(self._name) if structlog.is_configured() else _plain(self._level)
        getattr(logger, method)(event, **{**self._fields, **fields})


class WorkflowLog(Logger):
    """``ctx.log``: silent while a turn runs through what a former turn has logged already."""

    def __init__(self, silent: Callable[[], bool], **fields: Any) -> None:
        super().__init__("runner.workflow", level=logging.INFO, **fields)
        self._silent = silent

    def _say(self, method: str, event: str, fields: dict[str, Any]) -> None:
        if not self._silent():
            super()._say(method, event, fields)


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


def configure(level: str = "info", *, json: bool | None = None) -> None:
    """Set up logging for a Runner process: to stderr, JSON unless it is a terminal.

    The libraries underneath log through the same stream, from warnings up: aiormq prints whole
    frames below that.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Plain text, no local variables: a traceback with locals prints passwords.
        structlog.processors.format_exc_info,
    ]
    rendering: list[Any] = [structlog.processors.JSONRenderer()] if as_json else [_escape, _plain_console()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for library in ("aio_pika", "redis", "asyncio"):
        logging.getLogger(library).setLevel(max(number, logging.WARNING))
    # It logs an error with a traceback for every failed reconnect, and whole frames below: we say it ourselves.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)


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
