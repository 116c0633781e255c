"""Both servers over TLS with an authority of our own, and everything that can be wrong with a certificate, said with its cure."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from runner import App, Context
from runner.broker.factory import open_broker
from runner.broker.rabbitmq.address import parse_address
from runner.client import Client
from runner.errors import BrokerUnavailable, ConfigError, StoreUnavailable
from runner.records import WorkerInfo
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store.factory import open_store
from runner.store.redis import RedisStore
from runner.sync import SyncClient
from runner.tls import in_the_clear
from runner.workers import Worker, WorkerOptions
from tests.security.certificates import Pair
from tests.security.secured import Papers, SecuredRabbit, SecuredRedis
from tests.servers import HOST

SECRET = "s3cret-canary"


def apart(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """On a loop of its own, cleared away behind it: asyncio leaves the socket of a handshake that was given up open."""

    @wraps(test)
    def alone(*arguments: Any, **named: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            asyncio.run(test(*arguments, **named))
            gc.collect()

    return alone


def app_named(namespace: str) -> App:
    app = App(namespace)

    @app.workflow("greet")
    async def greet(ctx: Context, name: str) -> str:
        await ctx.sleep(0.01)
        return await ctx.step("hello", "hello {}".format, name)

    return app


@apart
async def test_every_connection_of_every_process_is_secured(
    locked_redis: SecuredRedis, locked_rabbit: SecuredRabbit, namespace: str
) -> None:
    """Commands, pub/sub and the thread that renews leases; publishing, consuming and asking; and the blocking client."""
    app = app_named(namespace)
    store, broker = (
        open_store(locked_redis.tls_url(), namespace=namespace),
        open_broker(locked_rabbit.tls_url(), namespace=namespace),
    )
    async with asyncio.timeout(60):
        await store.open()
        await broker.open(["default"])
        options = WorkerOptions(watch_loop=False, grace_s=5)
        async with Scheduler(store, broker, SchedulerOptions()), Worker(app, store, broker, options):
            async with Client(app, locked_redis.tls_url(), locked_rabbit.tls_url()) as client:
                handle = await client.start("greet", "ann")
                assert await handle.result(timeout=30) == "hello ann"
                assert [one.slots for one in await client.store.workers(60_000)] == [options.concurrency]
                assert await client.broker.depth("default") == 0
            assert (
                await asyncio.to_thread(blocking, app, locked_redis.tls_url(), locked_rabbit.tls_url()) == "hello bob"
            )
        await broker.close()
        await store.close()


def blocking(app: App, store: str, broker: str) -> str:
    with SyncClient(app, store, broker) as client:
        return str(client.start("greet", "bob").result(timeout=30))


# -- what can be wrong ---------------------------------------------------------------------------------------------


async def said_by_store(url: str, namespace: str) -> list[str]:
    """What a command, a subscription and the renewing thread say of it."""
    store = RedisStore(url, namespace=namespace, patience_s=0.5)
    renewer = store.renewer()
    heartbeat = WorkerInfo(id="w", build="b", queues=(), workflows=(), slots=1)
    asked = (store.open, lambda: store.subscribe("leader"), lambda: asyncio.to_thread(renewer.heartbeat, heartbeat))
    said = await asyncio.gather(*map(refusal, asked))
    renewer.close()
    await store.close()
    return said


async def refusal(ask: Callable[[], Awaitable[object]]) -> str:
    """What it says in the end: on a machine that has no time, no answer may have come within the patience."""
    async with asyncio.timeout(60):
        while True:
            with pytest.raises((StoreUnavailable, BrokerUnavailable)) as caught:
                await ask()
            if not re.search(r"no answer|did not answer for 0\.5 s$|[Tt]imeout|timed out", str(caught.value)):
                return str(caught.value)


async def said_by_broker(url: str, namespace: str) -> str:
    broker = open_broker(url, namespace=namespace)
    said = await refusal(broker.open)
    await broker.close()
    return said


UNTRUSTED = (
    r"certificate verify failed.*name the file with its authority's certificate in the URL: (ssl_ca_certs|cafile)="
)
OTHER_HOST = r"certificate is not valid for 'localhost'.*write the name it is for in the URL"
EXPIRED = r"certificate has expired.*have the server's certificate renewed"
NONE_OF_OURS = r"a certificate of ours.*(ssl_certfile=\.\.\. and ssl_keyfile|certfile=\.\.\. and keyfile)="
WRONG_PASSWORD = r"check user, password and access rules|wrong user or password"


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [
        ({"ca_certs": None, "cafile": None}, UNTRUSTED),
        ({"ca_certs": "stranger", "cafile": "stranger"}, UNTRUSTED),
        ({"host": "localhost"}, OTHER_HOST),
        ({"certfile": None, "keyfile": None}, NONE_OF_OURS),
        ({"password": SECRET}, WRONG_PASSWORD),
    ],
    ids=["no authority", "another authority", "another host", "no certificate of ours", "wrong password"],
)
@apart
async def test_what_is_wrong_is_said_with_its_cure(
    locked_redis: SecuredRedis, locked_rabbit: SecuredRabbit, papers: Papers, namespace: str, wrong: dict, cure: str
) -> None:
    wrong = {name: papers.stranger.file if value == "stranger" else value for name, value in wrong.items()}
    of_store = {name: value for name, value in wrong.items() if name != "cafile"}
    of_broker = {name: value for name, value in wrong.items() if name != "ca_certs"}
    said = await said_by_store(locked_redis.tls_url(**of_store), namespace)
    said.append(await said_by_broker(locked_rabbit.tls_url(**of_broker), namespace))
    for words in said:
        assert re.search(cure, words), words
        assert SECRET not in words and "pw-of" not in words


@contextmanager
def a_balancer(certificate: Pair) -> Iterator[int]:
    """Where TLS ends before the broker. No client trusts it so far that a word of AMQP would be said."""
    secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secured.load_cert_chain(certificate.certificate, certificate.key)

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                peer, _ = listening.accept()
                with suppress(OSError), secured.wrap_socket(peer, server_side=True):
                    pass

    with socket.create_server((HOST, 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@apart
async def test_an_expired_certificate_is_said(papers: Papers, tmp_path: Path, namespace: str) -> None:
    expired = papers.authority.issue("expired", expired=True)
    redis = SecuredRedis(tmp_path / "redis", papers, expired).start_anywhere()
    try:
        said = await said_by_store(redis.tls_url(), namespace)
    finally:
        redis.kill()
    with a_balancer(expired) as port:
        url = f"amqps://admin:{SECRET}@{HOST}:{port}/runner?cafile={quote(str(papers.authority.file))}"
        said.append(await said_by_broker(url, namespace))
    for words in said:
        assert re.search(EXPIRED, words), words
        assert SECRET not in words


# -- what is refused, and warned of, before anything is said -----------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        "ssl_cert_reqs=none",
        "ssl_cert_reqs=optional",
        "ssl_check_hostname=False",
        "ssl_check_hostname=0",
        "ssl_ciphers=NULL",
    ],
)
def test_a_redis_url_cannot_switch_the_check_off(option: str) -> None:
    with pytest.raises(ConfigError, match="certificates are always verified") as caught:
        RedisStore(f"rediss://:{SECRET}@localhost/0?{option}", namespace="shop")
    assert SECRET not in str(caught.value)


def test_an_amqp_url_cannot_switch_the_check_off_unless_the_operator_means_it() -> None:
    url = f"amqps://u:{SECRET}@localhost/?no_verify_ssl=1"
    with pytest.raises(ConfigError, match="RUNNER_INSECURE_TLS=1 if you mean it") as caught:
        parse_address(url, {})
    assert SECRET not in str(caught.value)
    parse_address(url, {"RUNNER_INSECURE_TLS": "1"})


@pytest.mark.parametrize("url", ["rediss://:{}@h/0?ssl_ca_certs=/nowhere.pem", "amqps://u:{}@h/?keyfile=/nowhere.pem"])
def test_a_file_that_is_not_there_is_a_mistake_and_no_outage(url: str) -> None:
    with pytest.raises(ConfigError, match=r"=/nowhere\.pem in a URL cannot be read: No such file") as caught:
        (open_store if url.startswith("redis") else open_broker)(url.format(SECRET), namespace="shop")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "open_to_others"),
    [
        ("redis://10.0.0.7:6379/0", True),
        ("amqp://u:p@rabbit.example/", True),
        ("redis://[2001:db8::7]/0", True),
        ("redis://localhost/0", False),
        ("redis:///0", False),
        ("amqp://u:p@127.3.2.1/", False),
        ("redis://[::1]/0", False),
        ("rediss://10.0.0.7/0", False),
        ("amqps://rabbit.example/", False),
    ],
)
def test_what_anybody_on_the_way_can_read(url: str, open_to_others: bool) -> None:
    assert in_the_clear(url) is open_to_others


@apart
async def test_a_server_elsewhere_without_tls_is_warned_of(
    redis_url: str, rabbit_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("runner.store.redis.store", "runner.broker.rabbitmq"):
        monkeypatch.setattr(f"{module}.in_the_clear", lambda url: True)  # the servers of the tests are all here
    with structlog.testing.capture_logs() as logs:
        async with Client(App(namespace), redis_url, rabbit_url):
            pass
    said = {line["event"]: line for line in logs}
    assert "rediss://" in said["store.plaintext"]["cure"] and "amqps://" in said["broker.plaintext"]["cure"]
    assert "guest:guest" not in str(logs)
