"""A payload codec that fails harms the executions whose payloads it fails for, visibly, and only until it works again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runner import App, Client, Context, PayloadError
from runner.payload_codec import Sealing


class Fickle:
    """Turns payloads around; while ``broken``, it has trouble with those that hold a certain word."""

    def __init__(self, failing: Any) -> None:
        self.broken = False
        self._failing = failing

    def encode(self, payload: bytes) -> bytes:
        return self._failing(payload) if self.broken and b"harmed" in payload else payload[::-1]

    def decode(self, payload: bytes) -> bytes:
        return payload[::-1]


def raises(payload: bytes) -> bytes:
    raise OSError("the key server is away")


FAILING = {
    "raises": (raises, "OSError: the key server is away"),
    "returns nothing": (lambda payload: None, "TypeError: it returned NoneType, not bytes"),
    "returns text": (lambda payload: "text", "TypeError: it returned str, not bytes"),
}


@pytest.mark.parametrize(("failing", "said"), FAILING.values(), ids=FAILING)
async def test_only_its_own_execution_waits_and_says_why(namespace: str, failing: Any, said: str) -> None:
    codec = Fickle(failing)
    app = App(namespace, payload_codec=codec)
    calls: list[str] = []

    def answer(who: str) -> str:
        calls.append(who)
        return "harmed" if who == "h" else "well"

    @app.workflow("asked")
    async def asked(ctx: Context, who: str) -> str:
        return await ctx.step("answer", answer, who)

    codec.broken = True
    async with asyncio.timeout(60), app.embedded() as client:
        harmed, well = await client.start(asked, "h"), await client.start(asked, "w")
        assert await well.result(timeout=30) == "well"
        passed = await until_passed(client, harmed.id)
        assert f"the payload codec could not encode: {said}" in passed
        assert not (await harmed.status()).terminal
        codec.broken = False
        assert await harmed.result(timeout=30) == "harmed"
        assert calls.count("w") == 1


async def until_passed(client: Client, id: str) -> str:
    while not (execution := await client.execution(id)).passed:
        await asyncio.sleep(0.02)
    return execution.passed


def test_what_a_codec_opens_is_bytes() -> None:
    class Nothing(Fickle):
        def decode(self, payload: bytes) -> Any:
            return None

    sealed = Sealing(Fickle(raises)).seal(b"\x01")
    with pytest.raises(PayloadError, match=r"could not decode it .*it returned NoneType, not bytes"):
        Sealing(Nothing(raises)).open(sealed)
    assert Sealing(Nothing(raises)).open_or_leave(sealed) == sealed
