"""Asking many at once, and hearing all of them out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def all_answers(asked: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All at once, in order. The first error is raised when the last has been answered: nothing runs on unseen."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]
