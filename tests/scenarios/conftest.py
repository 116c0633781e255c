"""The acceptance scenarios run on the same two pairs of backends as the integration tests."""

from __future__ import annotations

from tests.integration.conftest import app, backend, run

__all__ = ["app", "backend", "run"]
