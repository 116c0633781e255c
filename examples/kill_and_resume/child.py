"""The process that gets killed: worker, scheduler and client in one, on one SQLite file.

It reports to its parent what the store holds, one JSON object a line, and takes the approval from its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import approval
from approval import Approval, Order, app, approve_order, approved

from kill_and_resume.ledger import Ledger
from kill_and_resume.world import SlowShop
from runner import Client, log
from runner.records import History

ORDER = "order-7"


@dataclass(frozen=True)
class Recorded:
    """One line of the execution's journal."""

    id: str
    outcome: str
    attempts: int


@dataclass(frozen=True)
class Report:
    """What the store holds at one moment: the status, what is recorded, what is waited for."""

    status: str
    recorded: list[Recorded]
    waits: list[str]

    @classmethod
    def of(cls, history: History) -> Report:
        return cls(
            status=str(history.execution.status),
            recorded=[Recorded(entry.id, entry.outcome, entry.attempts) for entry in history.entries],
            waits=[wait.id for wait in history.waits],
        )

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Report:
        fields = json.loads(text)
        return cls(fields["status"], [Recorded(**one) for one in fields["recorded"]], fields["waits"])


async def report(client: Client) -> None:
    """Say what the store holds, each time it has changed."""
    last = ""
    while True:
        line = Report.of(await client.history(ORDER)).dump()
        if line != last:
            print(line, flush=True)
            last = line
        await asyncio.sleep(0.05)


async def approve_when_told(client: Client) -> None:
    """The name of whoever approves comes as a line of input."""
    name = (await asyncio.to_thread(sys.stdin.readline)).strip()
    if name:
        await client.signal(ORDER, approved, Approval(by=name))


async def main(folder: Path) -> None:
    approval.shop = SlowShop(Ledger(folder / "ledger"))
    async with app.embedded(f"sqlite:///{folder / 'state.db'}") as client:
        # The second process says the same; the order exists by then, and just goes on.
        order = await client.start(approve_order, Order("7", 4200), id=ORDER)
        reporting = asyncio.create_task(report(client))
        approving = asyncio.create_task(approve_when_told(client))
        result = await order.result(timeout=60)
        await approving
        await asyncio.sleep(0.2)  # the last change is reported
        reporting.cancel()
    (folder / "result").write_text(result)


if __name__ == "__main__":
    log.configure("warning")
    asyncio.run(main(Path(sys.argv[1])))
