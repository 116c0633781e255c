"""Where in the user's own code something happened."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from runner.core.commands import Place

_PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep
_LIBRARY = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_DEEPEST = 64


def caller(depth: int) -> Place:
    """The place ``depth`` frames above the one that calls this."""
    frame = sys._getframe(depth + 1)  # noqa: SLF001 - an inspect.stack() would read source files on the hot path
    return frame.f_code.co_filename, frame.f_lineno


def show(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


def users(place: Place) -> bool:
    """True for code that is neither Python's, nor an installed library's, nor ours."""
    file = place[0]
    return not file.startswith((*_LIBRARY, _PACKAGE, "<frozen"))


def innermost(places: Iterable[Place]) -> Place | None:
    """The last of the places that is the user's, or the last of all."""
    all_places = list(places)
    return next((place for place in reversed(all_places) if users(place)), all_places[-1] if all_places else None)


def awaiting(coroutine: Any) -> Iterator[Place]:
    """The places of a parked coroutine, outermost first, down to what it awaits."""
    link = coroutine
    for _ in range(_DEEPEST):
        frame = getattr(link, "cr_frame", None) or getattr(link, "gi_frame", None) or getattr(link, "ag_frame", None)
        if frame is None:
            return
        yield frame.f_code.co_filename, frame.f_lineno
        link = getattr(link, "cr_await", None) or getattr(link, "gi_yieldfrom", None) or getattr(link, "ag_await", None)


def raising(traceback: TracebackType | None) -> Iterator[Place]:
    """The places of a traceback, outermost first."""
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
