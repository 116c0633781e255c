"""Each kind of process gets along with the rights that deploy/ gives it, and with these only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiormq
import pytest
from aiormq.exceptions import ChannelAccessRefused
from redis import Redis, ResponseError
from redis.exceptions import AuthenticationError, NoPermissionError

from runner import App, Client, Context, Event, Signal
from runner.broker.factory import open_broker
from runner.errors import BrokerUnavailable, ConfigError, StoreUnavailable
from runner.messages import Hint
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store.factory import open_store
from runner.why import ReasonCode
from runner.workers import Worker, WorkerOptions
from tests.security.secured import DEPLOY, ROLES, SHOP, Papers, SecuredRabbit, SecuredRedis, password_of
from tests.servers import ROOT

go, told = Signal[str]("go"), Event[str]("told")
heard: list[str] = []


def shop() -> App:
    app = App(SHOP)

    @app.workflow("kid")
    async def kid(ctx: Context, text: str) -> str:
        return await ctx.step("shout", str.upper, text)

    @app.workflow("whole")
    async def whole(ctx: Context, text: str) -> list[str]:
        kept = await ctx.step("double", lambda text: text * 2, text)
        signalled = await ctx.wait_for_signal(go, timeout=timedelta(minutes=1))
        await ctx.sleep(0.01)
        await ctx.emit(told, text)
        return [kept, str(signalled), await ctx.run_child("kid", kid, text)]

    @app.on(told)
    def hear(text: str) -> None:
        heard.append(text)

    return app


@asynccontextmanager
async def fleet(redis: SecuredRedis, rabbit: SecuredRabbit, app: App) -> AsyncIterator[Client]:
    """Scheduler, worker and producer, each as its own user. The scheduler comes first: it may lay out the namespace."""
    async with AsyncExitStack() as stack:

        async def backends(role: str, *queues: str) -> Any:
            store = open_store(redis.url_of(f"runner-{role}"), namespace=app.name)
            await store.open()
            stack.push_async_callback(store.close)
            broker = open_broker(rabbit.url_of(f"runner-{role}"), namespace=app.name)
            await broker.open(queues)
            stack.push_async_callback(broker.close)
            return store, broker

        await stack.enter_async_context(Scheduler(*await backends("scheduler"), SchedulerOptions(leader_ttl_s=1.0)))
        options = WorkerOptions(watch_loop=False, grace_s=5)
        await stack.enter_async_context(Worker(app, *await backends("worker", "default"), options))
        yield await stack.enter_async_context(Client(app, *await backends("producer")))


async def test_each_with_its_own_user_and_everything_works(
    locked_redis: SecuredRedis, locked_rabbit: SecuredRabbit
) -> None:
    heard.clear()
    with Redis.from_url(locked_redis.url_of("admin")) as admin:
        admin.acl_log_reset()
    async with asyncio.timeout(90), fleet(locked_redis, locked_rabbit, shop()) as client:
        handle = await client.start("whole", "tea")
        await handle.signal(go, "now")
        assert await handle.result(timeout=60) == ["teatea", "now", "TEA"]
        schedule = await client.ensure_schedule(
            "kid", "scheduled", id="often", interval=timedelta(seconds=1), max_runs=1
        )
        while not (await client.get_schedule(schedule.id)).last_execution:
            await asyncio.sleep(0.05)
        assert await client.wait((await client.get_schedule("often")).last_execution, timeout=60) == "SCHEDULED"
        await client.remove_schedule("often")
        given_up = await client.start("whole", "tea", delay=3600)
        await given_up.cancel()
        assert (await given_up.status()).value == "cancelled"
        while "tea" not in heard:
            await asyncio.sleep(0.02)
        await parks(locked_rabbit, client)
    with Redis.from_url(locked_redis.url_of("admin")) as admin:
        assert admin.acl_log() == []
        admin.hset("runner:{shop}:workers", "long gone", b"1 ")
    await looks(locked_redis, locked_rabbit, handle.id)


async def parks(rabbit: SecuredRabbit, client: Client) -> None:
    """A worker puts aside what nobody knows and what nobody can read, and an operator sees it."""
    operator = open_broker(rabbit.url_of("runner-scheduler"), namespace=SHOP)
    await operator.open()
    await client.broker.publish("default", Hint("nobody", "kid", 1, 1))
    connection = await aiormq.connect(rabbit.url_of("runner-producer"))
    await (await connection.channel()).basic_publish(b"foreign", exchange=WORK, routing_key="default")
    await connection.close()
    while not (await operator.orphans() and await operator.dead_letters(1)):
        await asyncio.sleep(0.05)
    await operator.close()


async def looks(redis: SecuredRedis, rabbit: SecuredRabbit, id: str) -> None:
    """A dashboard sees everything that a client can look at, and changes nothing."""
    user = "runner-dashboard"
    async with Client(shop(), redis.url_of(user), rabbit.url_of(user)) as client:
        assert [one.id for one in (await client.executions(workflow="whole", limit=1)).executions]
        assert (await client.operator.detail(id)).steps[0].id == "double"
        assert await client.store.workers(60_000) is not None
        assert (await client.why(id)).codes == (ReasonCode.ENDED,)
        assert await client.broker.depth("default") == 0
        with pytest.raises(StoreUnavailable, match=r"refuses us.*check user, password and access rules"):
            await client.start("whole", "tea")
        with pytest.raises(BrokerUnavailable, match="this user may not do that"):
            await client.broker.dead_letters(1)


# -- refused -----------------------------------------------------------------------------------------------------

ADMIN = ("FLUSHALL", "KEYS *", "SCAN 0", "CONFIG GET *", "CONFIG SET maxmemory 1", "SHUTDOWN NOSAVE")
CODE = (
    "EVAL return(1) 0",
    "FUNCTION LIST",
    "MODULE LIST",
    "SCRIPT FLUSH",
    "ACL LIST",
    "CLIENT KILL TYPE normal",
    "MONITOR",
)
MOVING = ("COPY a b", "RENAME a b", "MIGRATE h 1 k 0 1", "REPLICAOF h 1", "SWAPDB 0 1", "SAVE", "BGREWRITEAOF")
FOREIGN = (
    "HGET runner:{shop2:1}:x:e status",
    "HSET runner:{shopping}:meta a b",
    "SET other 1",
    "PUBLISH runner:shop2:leader x",
)
READING = ("HGETALL runner:{shop:3}:x:e", "LRANGE runner:{shop:3}:a:e 0 -1", "HGETALL runner:{shop}:schedules", "INFO")
#: What lets work be taken over, and what says that it was done.
CLAIMING = ("ZADD runner:{shop:3}:leases 1 e", "HSET runner:{shop:3}:j:e step x")
LEADING = ("HSET runner:{shop}:leader nonce n", "HSET runner:{shop}:meta partitions 1")
REFUSED = {
    "runner-producer": (*CLAIMING, *LEADING, "HSET runner:{shop}:workers w x"),
    "runner-worker": (*LEADING, "HSET runner:{shop}:schedules s x"),
    "runner-scheduler": (),
    "runner-dashboard": (
        *CLAIMING,
        *LEADING,
        "HSET runner:{shop:3}:x:e status completed",
        "ZREM runner:{shop:3}:ready:q e",
    ),
}


def plain(url: str) -> Redis:
    """A client that says nothing of its own accord."""
    return Redis.from_url(url, protocol=2, driver_info=None)


@pytest.mark.parametrize("role", ROLES)
def test_redis_refuses_what_a_role_does_not_need(locked_redis: SecuredRedis, role: str) -> None:
    with plain(locked_redis.url_of(role)) as client:
        for command in (*ADMIN, *CODE, *MOVING, *FOREIGN, *REFUSED[role]):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command.split(" "))
        for command in READING:
            client.execute_command(*command.split(" "))


@pytest.mark.parametrize("role", ROLES)
def test_a_script_may_do_no_more_than_its_caller(locked_redis: SecuredRedis, role: str) -> None:
    foreign = "return redis.call('HGET', 'runner:{shop2:1}:x:e', 'status')"
    own = "return redis.call('HGET', KEYS[1] .. 'x:e', 'status')"
    with plain(locked_redis.url_of(role)) as client:
        for text in (
            foreign,
            "return redis.call('FLUSHALL')",
            "return redis.call('HSET', 'runner:{shop2}:meta', 'a', 1)",
        ):
            with pytest.raises(ResponseError, match=r"ACL failure in script|^The user executing the script"):
                client.evalsha(client.script_load(text), 1, "runner:{shop:3}:")
        assert client.evalsha(client.script_load(own), 1, "runner:{shop:3}:") is None
        with pytest.raises(NoPermissionError):
            client.evalsha(client.script_load(own), 1, "runner:{shop2:3}:")


def test_the_rules_have_every_command_that_a_script_uses() -> None:
    """A script that was not run here would be refused in the middle, behind its first write."""
    scripts = "".join(path.read_text() for path in (ROOT / "runner/store/redis/lua").rglob("*.lua"))
    used = {command.lower() for command in re.findall(r"call\('([A-Z]+)'", scripts)}
    [rules] = [line for line in (DEPLOY / "redis-users.acl").read_text().splitlines() if "runner-scheduler" in line]
    assert len(used) > 30
    assert used <= {word[1:] for word in rules.split() if word.startswith("+")}


def test_nobody_gets_in_without_a_password_of_their_own(locked_redis: SecuredRedis) -> None:
    for login in ("", "default:@", "runner-worker:@", f"runner-worker:{password_of('runner-producer')}@"):
        url = f"redis://{login}127.0.0.1:{locked_redis.port}/0"
        with plain(url) as client, pytest.raises((ResponseError, AuthenticationError)):
            client.ping()


async def attempts(url: str) -> AsyncIterator[aiormq.abc.AbstractChannel]:
    """A channel for each attempt: a refusal closes it."""
    connection = await aiormq.connect(url)
    try:
        while True:
            yield await connection.channel()
    finally:
        await connection.close()


WORK, ORDERS, DEAD = "runner.shop", "runner.shop.q.orders", "runner.shop.dead"
NOT_FOR: dict[str, tuple[str, ...]] = {
    "runner-producer": (
        "declare own",
        "delete own",
        "purge own",
        "consume own",
        "bind own",
        "write events",
        "read dead",
    ),
    "runner-worker": ("delete dead", "purge dead", "read dead", "delete work"),
    "runner-scheduler": (),
    "runner-dashboard": ("declare own", "delete own", "purge own", "consume own", "write work", "read dead"),
}
FOR: dict[str, tuple[str, ...]] = {
    "runner-producer": ("write work",),
    "runner-worker": ("declare own", "bind own", "consume own", "write work", "write events"),
    "runner-scheduler": ("declare own", "read dead", "write work", "write events"),
    "runner-dashboard": (),
}
NOBODY = ("write default", "declare foreign", "write foreign", "declare temporary")


async def do(what: str, channel: aiormq.abc.AbstractChannel) -> None:
    match what.split():
        case ["declare", "own"]:
            await channel.queue_declare("runner.shop.q.tried", durable=True)
        case ["declare", "foreign"]:
            await channel.queue_declare("runner.shopping.q.orders", durable=True)
        case ["declare", _]:
            await channel.queue_declare("", exclusive=True)
        case ["delete", "work"]:
            await channel.exchange_delete(WORK)
        case ["delete", name]:
            await channel.queue_delete(DEAD if name == "dead" else ORDERS)
        case ["purge", name]:
            await channel.queue_purge(DEAD if name == "dead" else ORDERS)
        case ["consume", _]:
            await channel.basic_consume(ORDERS, no_ack=True, consumer_callback=lambda message: asyncio.sleep(0))
        case ["bind", _]:
            await channel.queue_bind(ORDERS, WORK, routing_key="tried")
        case ["read", _]:
            await channel.basic_get(DEAD, no_ack=True)
        case ["write", name]:
            exchange = {"work": WORK, "events": "runner.shop.events", "default": "", "foreign": "runner.shopping"}[name]
            await channel.basic_publish(b"", exchange=exchange, routing_key=ORDERS)


@pytest.mark.parametrize("role", ROLES)
async def test_rabbitmq_refuses_what_a_role_does_not_need(locked_rabbit: SecuredRabbit, role: str) -> None:
    broker = open_broker(locked_rabbit.url_of("admin"), namespace=SHOP)
    await broker.open(["orders"])  # what is asked for is there
    await broker.close()
    async with asyncio.timeout(60), aclosing(attempts(locked_rabbit.url_of(role))) as channels:
        for what in (*NOT_FOR[role], *NOBODY):
            with pytest.raises(ChannelAccessRefused):
                await do(what, await anext(channels))
        for what in FOR[role]:
            await do(what, await anext(channels))


async def test_who_may_not_declare_is_told_what_is_missing(locked_rabbit: SecuredRabbit) -> None:
    other = open_broker(locked_rabbit.url_of("runner-worker"), namespace="shopping")
    with pytest.raises(ConfigError, match=r"'runner.shopping' is not there.*start a scheduler"):
        await other.open()
    await other.close()


async def test_a_namespace_is_laid_out_by_who_may(papers: Papers, tmp_path: Path) -> None:
    server = SecuredRedis(tmp_path / "redis", papers).start_anywhere()
    try:
        worker, scheduler = (
            open_store(server.url_of(f"runner-{role}"), namespace=SHOP) for role in ("worker", "scheduler")
        )
        with pytest.raises(StoreUnavailable, match="refuses us"):
            await worker.open()
        await scheduler.open()
        await worker.open()
        await worker.close()
        await scheduler.close()
    finally:
        server.kill()
