"""Somebody joins a company: an account, equipment and access, a manager who is reminded, a talk every month.

Run it alone (`python examples/onboarding.py`), or give it to workers: `runner worker --app examples.onboarding:app`.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from runner import App, Context, ExecutionFailed, Retry, Signal

app = App("people")
DAY = timedelta(seconds=0.3)  # timedelta(days=1) in a real company
MONTH = 3 * DAY  # 30 in a real company


@dataclass(frozen=True)
class Hire:
    name: str
    manager: str
    starts: datetime


@dataclass(frozen=True)
class Talks:
    """What one run of `probation` hands to the next."""

    name: str
    month: int = 1


@app.error
class NoLaptop(Exception): ...


ready = Signal[str]("ready")  # from the manager, with a plan for the first week
patient = Retry(max_attempts=5, non_retryable=(NoLaptop,))


@app.step(retry=patient)
async def open_account(name: str) -> str:
    print(f"  account  {name}@example.com")
    return f"{name}@example.com"


@app.step(retry=patient)
async def close_account(account: str) -> None:
    print(f"  closed   {account}")


@app.step(retry=patient)
async def order_laptop(name: str) -> str:
    if name == "bob":
        raise NoLaptop("no laptops until next year")
    return f"laptop of {name}"


@app.step(retry=patient)
async def send_back(laptop: str) -> None:
    print(f"  back     {laptop}")


@app.step(retry=patient)
async def issue_badge(account: str) -> str:
    return f"badge of {account}"


@app.step(retry=patient)
async def mail(person: str, text: str) -> None:
    print(f"  mail     to {person}: {text}")


@app.workflow(max_attempts=1)
async def equip(ctx: Context, name: str) -> str:
    """Order a laptop and wait for the parcel; called off on the way, it goes back."""
    async with ctx.saga():
        laptop = await ctx.step("order", order_laptop, name).options(compensate=send_back)
        await ctx.sleep(2 * DAY, id="delivery")
    return laptop


@app.workflow
async def grant_access(ctx: Context, account: str) -> str:
    return await ctx.step("badge", issue_badge, account)


@app.workflow
async def probation(ctx: Context, talks: Talks) -> int:
    """A talk a month, for three months: each month is a run of its own, so the journal never grows."""
    await ctx.sleep(MONTH, id="month")
    await ctx.step("talk", mail, talks.name, f"how was month {talks.month}?")
    if talks.month < 3:
        await ctx.continue_as_new(replace(talks, month=talks.month + 1))
    return talks.month


async def plan_of_manager(ctx: Context, hire: Hire) -> str:
    """Ask once, and remind for as long as it takes."""
    await ctx.step("ask", mail, hire.manager, f"is everything ready for {hire.name}?")
    reminders = 0
    while True:
        reminders += 1
        _, plan = await ctx.race(f"answer-{reminders}", ready=ctx.wait_for_signal(ready), reminder=ctx.sleep(DAY))
        if plan is not None:
            return plan
        await ctx.step(f"remind-{reminders}", mail, hire.manager, f"reminder {reminders}: {hire.name} comes")


@app.workflow("onboard", category="people", signals=[ready], timeout=timedelta(days=180))
async def onboard(ctx: Context, hire: Hire) -> str:
    """Everything is there on the first day, or the account is closed again.

    The children end with this execution: cancelled, they undo their own part. The talks go on without it.
    """
    try:
        async with ctx.saga():
            account = await ctx.step("account", open_account, hire.name).options(compensate=close_account)
            equipment = await ctx.start_child("equipment", equip, hire.name)
            access = await ctx.start_child("access", grant_access, account)
            laptop, badge = await ctx.gather(equipment.result(), access.result())
            plan = await plan_of_manager(ctx, hire)
            await ctx.sleep_until(hire.starts, id="first-day")
    except ExecutionFailed as failed:
        return f"{hire.name} cannot start: {failed.__cause__}"
    await ctx.start_child("probation", probation, Talks(hire.name), parent_close="abandon")
    return f"{hire.name} starts with {laptop}, {badge}, and a plan: {plan}"


async def main() -> None:
    async with app.embedded() as client:
        starts = datetime.now(UTC) + 10 * DAY
        ada = await client.start(onboard, Hire("ada", "mae", starts), id="ada")
        async for line in ada.watch():
            if line.kind == "step" and line.fields["id"] == "remind-2":
                await ada.signal(ready, "meet everybody")
        print(await ada.result())
        (talks,) = (await client.executions(workflow="probation")).executions
        print(f"{await client.wait(talks.id)} months later: ada stays")

        bob = await client.start(onboard, Hire("bob", "mae", starts), id="bob")
        print(await bob.result())


if __name__ == "__main__":
    asyncio.run(main())
