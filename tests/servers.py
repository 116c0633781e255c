"""Private redis-server and rabbitmq-server processes for tests: own ports, own folders, gone at the end.

Nothing here touches a server that was already running. A server is started from its binary; a missing
binary is an error that names the package, never a skip. `python -m tests.servers` is the guard: a child
that kills every server still registered when the process that started them is gone, however it went.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Self

import aio_pika

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
# Below the ephemeral range of Linux and macOS: a client that keeps reconnecting to a server that is down
# could otherwise be given that very port as its own, connect to itself, and make the restart fail.
PORTS = range(15_000, 32_000)
# Not the seeded generator: pytest-randomly would make every test ask for the same ports.
CHANCE = random.SystemRandom()
STARTS = 3


class ServerError(Exception):
    """A server did not start, or did not stop."""


def binary(name: str, package: str, *places: str) -> str:
    """The path of an executable; raises ServerError naming the package to install."""
    for place in places:
        if os.access(place, os.X_OK):
            return place
    if found := shutil.which(name):
        return found
    raise ServerError(f"{name} was not found: install the package {package} (Debian: apt-get install {package})")


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Distinct ports on which nothing listens at this moment."""
    ports: set[int] = set()
    while len(ports) < count:
        if port_is_free(port := CHANCE.choice(PORTS)):
            ports.add(port)
    return list(ports)


def wait_until(met: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    """Ask again and again until the condition holds; raises ServerError with the reason after that long."""
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            raise ServerError(otherwise())
        time.sleep(0.02)


# --- the guard -----------------------------------------------------------------------------------------------


class Guard:
    """A child process that outlives this one just long enough to kill what it left behind."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def watch(self, group: int) -> None:
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process is None:
                self._process = self._start()
            pipe = self._process.stdin
            assert pipe is not None
            pipe.write(line + "\n")
            pipe.flush()

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the foreground group, and the guard must outlive that
        )
        atexit.register(self._end)
        return process

    def _end(self) -> None:
        """The end of its input is what makes it kill."""
        if (process := self._process) is not None and process.stdin is not None:
            process.stdin.close()
            process.wait(timeout=10)


def guard(lines: Iterator[str]) -> None:
    """Keep the list of live process groups as told, and kill what is on it when nobody is left to tell."""
    groups: set[int] = set()
    for line in lines:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    for group in groups:
        kill_group(group, signal.SIGKILL)


def kill_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


_guard = Guard()


# --- processes -----------------------------------------------------------------------------------------------


class Process:
    """One child in its own process group, logging to a file, known to the guard while it lives."""

    def __init__(self, argv: list[str], *, home: Path, env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._child = self._spawn(argv, home, env, output)
        _guard.watch(self._child.pid)

    @staticmethod
    def _spawn(argv: list[str], home: Path, env: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            cwd=home,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.alive:
            kill_group(self.pid, number)

    def end(self, number: signal.Signals, patience: float = 30.0) -> None:
        """Signal the group and wait until the process is gone; one that does not listen is killed."""
        self.send(signal.SIGCONT)  # a stopped process sees no other signal but SIGKILL
        self.send(number)
        try:
            self._child.wait(patience)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._child.wait(10)
        kill_group(self.pid, signal.SIGKILL)  # helpers of the group that outlived their leader
        _guard.forget(self.pid)

    def last_words(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-15:])


class Server:
    """What both servers share: the life of the main process on one port and one data folder."""

    name = "server"
    patience = 30.0

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: Process | None = None
        self.choose_ports()

    # What a server of a kind has to say:

    port: int

    def choose_ports(self) -> None:
        self.port = free_ports(1)[0]

    def launch(self) -> Process:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    # What every server does:

    def start(self) -> Self:
        """Start on the same port and data, and return once it answers."""
        if self.process is None:
            self.home.mkdir(parents=True, exist_ok=True)
            self.process = self.launch()
            wait_until(self._up, self.patience, self._why_not)
        return self

    def start_anywhere(self) -> Self:
        """The first start: between choosing a free port and taking it, somebody else may have taken it."""
        for _ in range(STARTS - 1):
            try:
                return self.start()
            except ServerError:
                self.kill()
                self.choose_ports()
        return self.start()

    def stop(self) -> None:
        """Let it shut down in order; it is gone on return. Does nothing when it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL; it is gone and its port free on return. Does nothing when it is not running."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in order if it runs, then start again on the same port with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as on a half-dead machine."""
        self._running().send(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send(signal.SIGCONT)

    def _running(self) -> Process:
        if self.process is None:
            raise ServerError(f"{self.name} is not running")
        return self.process

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.end(number)
            wait_until(lambda: port_is_free(self.port), 10, lambda: f"{self.name} left port {self.port} in use")

    def _up(self) -> bool:
        process = self._running()
        if not process.alive:
            raise ServerError(f"{self.name} ended while it started:\n{process.last_words()}")
        return self.answers()

    def _why_not(self) -> str:
        return f"{self.name} did not answer within {self.patience:.0f} s:\n{self._running().last_words()}"


def ask(port: int, question: bytes) -> bytes:
    """One question and the beginning of its answer over a fresh connection; b"" when nobody answers."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as peer:
            peer.sendall(question)
            return peer.recv(64)
    except OSError as error:
        # Out of descriptors is our own fault and no sign that the server is still starting.
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            raise
        return b""


# --- redis ---------------------------------------------------------------------------------------------------

DURABLE = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}


class RedisServer(Server):
    """A redis-server that fsyncs every write before it answers, as the promises assume."""

    name = "redis-server"

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        super().__init__(home)
        self.settings = {**DURABLE, **settings}

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def launch(self) -> Process:
        placed = {"bind": HOST, "port": str(self.port), "dir": str(self.home), "daemonize": "no"}
        argv = [binary("redis-server", "redis-server")]
        for key, value in {**placed, **self.settings}.items():
            argv += [f"--{key}", value]
        return Process(argv, home=self.home, env=plain_environment(self.home), log=self.home / "redis.log")

    def answers(self) -> bool:
        # Anything but silence and -LOADING: a server with a password answers -NOAUTH and is up.
        return ask(self.port, b"PING\r\n").startswith((b"+PONG", b"-NOAUTH"))


def start_redis(tmp: Path, **settings: str) -> RedisServer:
    """A running private redis-server; `maxmemory="8mb"` and the like override its configuration."""
    named = {key.replace("_", "-"): value for key, value in settings.items()}
    return RedisServer(tmp / "redis", named).start_anywhere()


# --- rabbitmq ------------------------------------------------------------------------------------------------

# RabbitMQ writes the directory of its quorum queues to disk every half second. A node killed before that comes
# back with a queue that nobody leads: it is declared and confirms nothing, a consume hangs for ever, and only
# deleting and declaring it again helps. Tests that kill a node and are not about that wait this long first.
QUEUE_ON_DISK_S = 1.5

RABBIT_CONFIG = """\
listeners.tcp.1 = {host}:{port}
loopback_users.guest = true
heartbeat = 30
disk_free_limit.absolute = 20MB
log.file.level = info
log.console = false
"""


class RabbitServer(Server):
    """A RabbitMQ node with its own name, ports, cookie, data and Erlang port mapper.

    Before `kill`, see QUEUE_ON_DISK_S about queues declared a moment ago.
    """

    name = "rabbitmq-server"
    patience = 90.0  # about 5 s alone, much longer while a whole test suite shares two cores

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._mapper: Process | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}/"

    @property
    def _node(self) -> str:
        return f"runner-{self.port}@localhost"

    def choose_ports(self) -> None:
        self.port, self._dist_port, self._mapper_port = free_ports(3)

    def launch(self) -> Process:
        self._write_configuration()
        env = self._environment()
        # In the foreground and ours: a mapper that the node starts itself would be a daemon and stay for ever.
        mapper = [binary("epmd", "erlang-base"), "-port", str(self._mapper_port)]
        self._mapper = Process(mapper, home=self.home, env=env, log=self.home / "epmd.log")
        wait_until(self._mapped, 10, lambda: "epmd does not listen")
        # The package's wrapper in /usr/sbin changes to the system's user and folders; the script behind it does not.
        server = binary("rabbitmq-server", "rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server")
        return Process([server], home=self.home, env=env, log=self.home / "console.log")

    def answers(self) -> bool:
        return ask(self.port, b"AMQP\x00\x00\x09\x01").startswith(b"\x01") and run_apart(self._accepts)

    def wipe(self) -> None:
        """Stop, delete all data, start again on the same port: every queue, exchange and message is lost."""
        self.kill()
        shutil.rmtree(self.home / "data")
        self.start()

    def alarm(self, *, on: bool) -> None:
        """Have it believe that its memory is full: it stops reading from whoever publishes, until it is off again."""
        self.call(f"vm_memory_monitor set_vm_memory_high_watermark [{'0.00001' if on else '0.4'}]")

    def close_connections(self) -> None:
        """It says goodbye to every client, as before a shutdown."""
        self.call('rabbit_networking close_all_connections ["closed by a test"]')

    def forget_everything(self) -> None:
        """Its virtual host is deleted and made anew, empty: the node goes on, and all connections are closed."""
        host, who, all_of_it = '<<"/">>', '<<"a test">>', '<<".*">>, <<".*">>, <<".*">>'
        self._ask(
            "-e",
            typed=f"rabbit_vhost:delete({host}, {who}), rabbit_vhost:add({host}, {who}), "
            f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, {host}, {all_of_it}, {who}).\n',
        )

    def call(self, words: str) -> str:
        """What a function inside the node returns: "module function [arguments]". Takes milliseconds."""
        return self._ask("-a", words)

    def _ask(self, *words: str, typed: str | None = None) -> str:
        argv = [binary("erl_call", "erlang-base"), "-sname", self._node, *words]
        done = subprocess.run(argv, env=self._environment(), capture_output=True, text=True, timeout=60, input=typed)
        if done.returncode or "badrpc" in done.stdout or "{error" in done.stdout:
            raise ServerError(f"{self.name}: {words} {typed}: {done.stdout} {done.stderr}")
        return done.stdout

    def _end(self, number: signal.Signals) -> None:
        super()._end(number)
        mapper, self._mapper = self._mapper, None
        if mapper is not None:
            mapper.end(signal.SIGKILL)
            wait_until(lambda: port_is_free(self._mapper_port), 10, lambda: "epmd left its port in use")

    def _mapped(self) -> bool:
        return not port_is_free(self._mapper_port)

    async def _accepts(self) -> bool:
        try:
            connection = await aio_pika.connect(self.url, timeout=10)
        except (OSError, TimeoutError, aio_pika.exceptions.AMQPError):
            return False
        await connection.close()
        return True

    def _write_configuration(self) -> None:
        (self.home / "rabbitmq.conf").write_text(RABBIT_CONFIG.format(host=HOST, port=self.port))
        (self.home / "enabled_plugins").write_text("[].\n")

    def _environment(self) -> dict[str, str]:
        home = self.home
        return plain_environment(home) | {
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),  # or the system's would be read
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "generated"),
            "RABBITMQ_SCHEMA_DIR": str(home / "schema"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_CRASH_DUMP_SECONDS": "0",
            # The script then becomes the node instead of waiting for it: a signal reaches the node itself.
            "detached": "1",
        }


def start_rabbitmq(tmp: Path) -> RabbitServer:
    """A running private RabbitMQ node; takes about 5 s."""
    return RabbitServer(tmp / "rabbitmq").start_anywhere()


def plain_environment(home: Path) -> dict[str, str]:
    """Nothing of the caller's but the search path: REDIS_* and RABBITMQ_* of a developer must not leak in."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8"}


def run_apart(check: Callable[[], object]) -> bool:
    """Run a coroutine function in a thread of its own: the caller may be inside a running event loop."""
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(check())))  # type: ignore[arg-type]
    thread.start()
    thread.join()
    return answers == [True]


if __name__ == "__main__":
    guard(iter(sys.stdin))
