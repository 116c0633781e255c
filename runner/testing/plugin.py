"""The pytest plugin: the fixture ``runner_env``. Imported by pytest, and by nothing of Runner's."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from runner.testing.env import RunnerEnv, TestEnv

_fixture: Any
try:
    from pytest_asyncio import fixture as _fixture
except ImportError:  # anyio's plugin takes asynchronous fixtures as they are
    _fixture = pytest.fixture


@_fixture  # type: ignore[untyped-decorator]
async def runner_env() -> AsyncGenerator[RunnerEnv]:
    """Environments that are closed when the test is over: call it with an app, and await it."""
    # Loaded with the first test that asks for it: every run of pytest loads this module.
    from runner.testing.env import TestEnv  # noqa: PLC0415

    async with AsyncExitStack() as stack:

        async def opened(*args: Any, **options: Any) -> TestEnv:
            return await stack.enter_async_context(TestEnv(*args, **options))

        yield opened
