"""Salaries on the 28th at nine, a reminder that repeats, a bonus at one moment: schedules, ensured wherever the code starts.

Run it alone (`python examples/payroll.py`), or give it to workers: `runner worker --app examples.payroll:app`, with a
`runner scheduler` beside them.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runner import App, CatchUp, Client, Context, Retry, idempotency_key

app = App("payroll")


@dataclass(frozen=True)
class Payment:
    what: str
    amounts: dict[str, int]


class Bank:
    """Does a transfer once per key, however often it is asked."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def transfer(self, person: str, amount: int, *, key: str) -> None:
        if self.seen.setdefault(key, amount) != amount:
            raise ValueError(f"{key} was another amount")
        print(f"  paid     {person} {amount}, key {key}")


bank = Bank()
mailbox: asyncio.Queue[str] = asyncio.Queue()


@app.step(retry=Retry(max_attempts=5))
async def transfer(person: str, amount: int) -> None:
    bank.transfer(person, amount, key=idempotency_key())


@app.workflow("pay")
async def pay(ctx: Context, payment: Payment) -> str:
    for person, amount in payment.amounts.items():
        await ctx.step(f"transfer-{person}", transfer, person, amount)
    return f"{payment.what}: {sum(payment.amounts.values())}"


@app.workflow("remind")
async def remind(ctx: Context) -> None:
    await ctx.step("mail", mail)


async def mail() -> None:
    await mailbox.put("hand in your hours")


async def ensure_schedules(client: Client) -> None:
    """Called at every start of every process: where nothing has changed, nothing happens."""
    await client.ensure_schedule(
        pay,
        Payment("salaries", {"ada": 4000, "bob": 3000}),
        id="payday",
        cron="0 9 28 * *",
        timezone="Europe/Berlin",
        overlap="skip",
        # Everything down over payday? Up to three days later it is still run, once.
        catch_up=CatchUp(all_within=timedelta(hours=1), then="latest", window=timedelta(days=3)),
    )
    await client.ensure_schedule(remind, id="reminder", interval=timedelta(seconds=0.5), max_runs=2)


async def main() -> None:
    async with app.embedded() as client:
        await asyncio.gather(*(ensure_schedules(client) for _ in range(5)))
        for fire in await client.next_fires("payday", 2):
            print(f"payday at {fire:%H:%M} on the {fire.day}th")

        # Two paydays before there was a schedule; asked for twice, run once.
        spring = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 30, tzinfo=UTC)
        await client.backfill_schedule("payday", *spring)
        for handle in await client.backfill_schedule("payday", *spring):
            print(f"{handle.id}: {await handle.result()}")

        bonus = await client.schedule(pay, Payment("bonus", {"ada": 500}), delay=timedelta(seconds=0.5))
        print(await bonus.result())

        held = await client.pause_schedule("payday", "the bank moves")
        print(f"paused: {held.note}")
        now = await client.trigger_schedule("payday")  # also while it is paused
        print(await now.result())

        for _ in range(2):
            print(f"reminded: {await mailbox.get()}")


if __name__ == "__main__":
    asyncio.run(main())
