"""Logging: structlog events with dotted constant names; data in fields, never in the text."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any

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
        if not (_muted.get() or self._is_dropped(method)):
            getattr(self._bound(), method)(event, **{**self._fields, **fields})

    def _is_dropped(self, method: str) -> bool:
        """Known without structlog: what is not loaded, nobody has configured."""
        if "structlog" in sys.modules:
            return False
        waiting = FirstLine.waiting()
        least = self._level if waiting is None else waiting.level
        return logging.getLevelNamesMapping()[method.upper()] < least

    def _bound(self) -> Any:
        from runner import loglines  # noqa: PLC0415 - most programs that import Runner never log a line

        if (waiting := FirstLine.waiting()) is not None:
            waiting.begin()
        return loglines.bound(self._name, self._level)


class WorkflowLog(Logger):
    """``ctx.log``: silent while a turn runs through what a former turn has logged already."""

    def __init__(self, silent: Callable[[], bool], **fields: Any) -> None:
        super().__init__("runner.workflow", level=logging.INFO, **fields)
        self._silent = silent

    def _say(self, method: str, event: str, fields: dict[str, Any]) -> None:
        if not self._silent():
            super()._say(method, event, fields)


class FirstLine(logging.Formatter):
    """Loads what makes lines when there is one to be made."""

    def __init__(self, level: int, *, as_json: bool) -> None:
        super().__init__()
        self.level = level
        self._as_json = as_json

    @classmethod
    def waiting(cls) -> FirstLine | None:
        """The root's, where `configure` has put it."""
        formatters = (handler.formatter for handler in logging.getLogger().handlers)
        return next((one for one in formatters if isinstance(one, cls)), None)

    def begin(self) -> logging.Formatter:
        """Configure structlog too; once."""
        return self._made

    @cached_property
    def _made(self) -> logging.Formatter:
        return _ready(self.level, as_json=self._as_json)

    def format(self, record: logging.LogRecord) -> str:
        return self.begin().format(record)


def configure(level: str = "info", *, json: bool | None = None, alone: bool = False) -> None:
    """Set up logging for a Runner process: to stderr, JSON unless it is a terminal.

    ``alone``: nobody else's code runs here that might log with structlog, so that it is loaded when there is a line to write.

    The libraries underneath log through the same stream, from warnings up: aiormq prints whole
    frames below that.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FirstLine(number, as_json=as_json) if alone else _ready(number, as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for library in ("aio_pika", "redis", "asyncio"):
        logging.getLogger(library).setLevel(max(number, logging.WARNING))
    # It logs an error with a traceback for every failed reconnect, and whole frames below: we say it ourselves.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)


def _ready(level: int, *, as_json: bool) -> logging.Formatter:
    from runner import loglines  # noqa: PLC0415 - see `Logger`

    loglines.through_logging(level)
    return loglines.formatter(as_json=as_json)
