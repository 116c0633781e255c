"""Logging: structlog events with dotted constant names; data in fields, never in the text."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog


class WorkflowLog:
    """``ctx.log``: silent while a turn runs through what a former turn has logged already."""

    def __init__(self, silent: Callable[[], bool], **fields: Any) -> None:
        self._silent = silent
        self._log = structlog.get_logger("runner.workflow").bind(**fields)

    def debug(self, event: str, **fields: Any) -> None:
        self._say("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._say("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._say("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._say("error", event, fields)

    def _say(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if not self._silent():
            getattr(self._log, level)(event, **fields)


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
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
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
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _escape, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for library in ("aio_pika", "aiormq", "redis", "asyncio"):
        logging.getLogger(library).setLevel(max(number, logging.WARNING))


def _escape(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Control characters in data could forge log lines or drive a terminal: show them escaped."""
    for key, value in event.items():
        if key != "exception":
            event[key] = _printable(value)
    return event


def _printable(value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in value)
