"""What has lost what would move it on goes on after a check with repair, as if nothing had been."""

from __future__ import annotations

import asyncio

from runner import App, Context, Signal, Status, SyncClient
from tests.contract.hands import hand_into
from tests.integration.conftest import Run
from tests.scenarios.kit import nothing_left, outcome_of, until

go = Signal[str]("go")


async def test_what_stood_still_goes_on_after_a_repair(app: App, run: Run):
    @app.workflow("child")
    async def child(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return "heard " + await ctx.run_child("child", child)

    async with run(app, scheduler=False) as fleet:
        hand = hand_into(fleet.store)
        deaf = await fleet.client.start(flow)
        await until(fleet, deaf.id, Status.SLEEPING)
        (link,) = await fleet.store.children(deaf.id)
        async with asyncio.timeout(30):  # its start may be on its way
            while await fleet.store.record(link.execution_id) is None:
                await asyncio.sleep(0.01)
        await until(fleet, link.execution_id, Status.SLEEPING)
        hand.followers_gone(link.execution_id)
        lost = await fleet.client.start(child, id="lost", delay=3600)
        hand.timer("lost", None)

        report = await fleet.client.fsck()
        assert report.counts == {"unheard": 1, "unwakeable": 1}
        assert (await fleet.client.execution("lost")).status is Status.PENDING, "to look changes nothing"
        report = await fleet.client.fsck(repair=True)
        assert report.repaired == 2
        await until(fleet, "lost", Status.SLEEPING)
        assert (await fleet.client.fsck()).clean
        assert [line.kind for line in await fleet.client.audit("lost")].count("repaired") == 1

        await fleet.client.signal(link.execution_id, go, "you")
        await fleet.client.signal("lost", go, "too")
        assert (await outcome_of(deaf), await outcome_of(lost)) == ("heard you", "too")
        assert (await fleet.client.fsck()).clean
        hand.close()
        await nothing_left(fleet)


def test_the_check_without_a_loop(app: App) -> None:
    with SyncClient(app, "sqlite://", "memory://") as client:
        assert client.fsck(repair=True).clean
