"""The rig: private servers, a proxy before each for every kind of process, and processes that are replaced when they die.

async with rig(Setup(executions=300, seed=seed), redis, rabbit, folder) as one:
    outcome = await run(one, plan(seed, 300, {"worker.kill": 5}))
assert outcome.findings == []
"""

from __future__ import annotations

import asyncio
import json
import math
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import Client
from runner.app import App
from tests.e2e import ledger
from tests.e2e.processes import Launcher, launcher
from tests.faults import clocks, producer, program
from tests.faults.progress import Progress
from tests.faults.proxy import Proxy
from tests.servers import RabbitServer, RedisServer

ROLES = ("producer", "worker", "scheduler")
SERVERS = ("redis", "rabbit")
#: What a process says in its log when it works.
READY = {"producer": "", "worker": "worker.ready", "scheduler": "scheduler.ready"}
#: How often the rig looks after its processes and their progress, in seconds.
LOOK_S = 0.05
#: What does not come about within this time while nothing else happens does not come about at all, in seconds.
PATIENCE_S = 90.0
#: `runner worker` and `runner scheduler` end with this when a server does not answer as they begin …
UNREACHABLE = 3
#: … and say this when Redis is a replica just then, where they would not do anything.
TURNED_AWAY = "is a replica of"
#: By how much the clocks of some processes are wrong, in seconds.
WRONG_S = 3 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What runs. ``rate``: orders a second, of all producers together; ``kept_s``: how long ended executions are kept;
    ``wrong_s``: by how much clocks are wrong; ``round_s``: how often all faults pause, and the store is checked."""

    executions: int = 300
    rate: float = 25.0
    producers: int = 2
    workers: int = 3
    schedulers: int = 2
    concurrency: int = 50
    lease_s: float = 3.0
    kept_s: float = 7 * 24 * 3600.0
    wrong_s: float = WRONG_S
    round_s: float = math.inf
    seed: int = 0

    def clock(self, role: str, place: int) -> float:
        """How far the clock of this process is ahead: that of some is right, of some ahead, of some behind."""
        return (0.0, self.wrong_s, -self.wrong_s)[(ROLES.index(role) + place) % 3]

    def count(self, role: str) -> int:
        return {"producer": self.producers, "worker": self.workers, "scheduler": self.schedulers}[role]


@dataclass(slots=True)
class Member:
    """One process. ``doomed``: the rig ends it, so its end is no finding."""

    role: str
    place: int
    process: subprocess.Popen[bytes]
    ready: bool = False
    stopped: bool = False
    doomed: bool = False


class NobodyLeft(Exception):
    """There is no process of this kind any more: the producers are through."""


class Rig:
    """Made by ``rig``. Faults act on its servers, its proxies (by role and server) and its members."""

    def __init__(
        self,
        setup: Setup,
        redis: RedisServer,
        rabbit: RabbitServer,
        system: Launcher,
        ways: Mapping[tuple[str, str], Proxy],
        client: Client,
    ) -> None:
        self.setup = setup
        self.redis = redis
        self.rabbit = rabbit
        self.system = system
        self.client = client  # past the proxies
        self.ways = ways
        self.members: list[Member] = []
        self.seen: Counter[str] = Counter()
        self.progress = Progress(system.ledger)
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    # -- what faults use --------------------------------------------------------------------------

    def alone(self, what: str) -> asyncio.Lock:
        """Two faults of one server, or of one way, take turns: the end of one would heal the other."""
        return self._locks[what]

    def up(self, role: str) -> list[Member]:
        """The members that work: ready, running and not about to be ended."""
        mine = (one for one in self.members if one.role == role and not (one.stopped or one.doomed))
        return [one for one in mine if one.process.poll() is None and self.is_ready(one)]

    def is_ready(self, member: Member) -> bool:
        member.ready = member.ready or self.system.has_said(member.process, READY[member.role])
        return member.ready

    async def victim(self, role: str, place: int) -> Member:
        """A member to strike, when another one works beside it. Raises NobodyLeft when the producers are through."""
        beside = min(self.setup.count(role), 2 if role == "worker" else 1)
        found: list[Member] = []

        def there() -> bool:
            found[:] = self.up(role)
            return len(found) >= beside or (role == "producer" and self.produced())

        await self.until(there, f"{beside} of kind {role} to work")
        if not found:
            raise NobodyLeft(role)
        return found[place % len(found)]

    def wrote(self, kind: str, **fields: object) -> None:
        """A line of the rig's own."""
        ledger.write(self.system.ledger, kind=kind, **fields)

    def end(self, member: Member, number: signal.Signals) -> None:
        """Have it killed, or asked to leave: its place is taken by another."""
        member.doomed = True
        name = self.name_of(member)
        self.wrote("ended", victim=member.process.pid, role=member.role, name=name, how=number.name)
        member.process.send_signal(number)

    def name_of(self, member: Member) -> str:
        """What the process calls itself; empty when it has not said."""
        return str(self.told(member, f"{member.role}.ready").get(member.role, ""))

    def told(self, member: Member, event: str) -> dict[str, Any]:
        """The first line of its log that is about this event, if there is one."""
        log = self.system.logs_of[member.process.pid].read_text(errors="replace")
        return dict(json.loads(next((line for line in log.splitlines() if f'"{event}"' in line), "{}")))

    def stop(self, member: Member) -> None:
        member.stopped = True
        self.wrote("stopped", victim=member.process.pid, role=member.role)
        member.process.send_signal(signal.SIGSTOP)

    def go_on(self, member: Member) -> None:
        self.wrote("continued", victim=member.process.pid, role=member.role)
        member.process.send_signal(signal.SIGCONT)
        member.stopped = False

    async def until(self, met: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not met():
            assert time.monotonic() < deadline, f"waited in vain for {what}\n{self.system.logs()}"
            await asyncio.sleep(LOOK_S)

    # -- processes --------------------------------------------------------------------------------

    def launch(self, role: str, place: int) -> Member:
        setup = self.setup
        environment = {
            "RUNNER_STORE_URL": self.ways[role, "redis"].url,
            "RUNNER_BROKER_URL": self.ways[role, "rabbit"].url,
            "RUNNER_TEST_KEPT_S": str(setup.kept_s),
            clocks.VARIABLE: str(setup.clock(role, place)),
        }
        module = clocks.__name__
        match role:
            case "worker":
                options = ("--lease", str(setup.lease_s), "--concurrency", str(setup.concurrency))
                arguments = ("worker", "--app", self.system.app, *options)
            case "scheduler":
                options = ("--lease", str(setup.lease_s), "--health-port", "0")
                arguments = ("scheduler", "--app", self.system.app, *options)
            case _:
                share = (place, setup.producers, setup.executions, setup.rate, setup.seed)
                arguments, module = tuple(map(str, share)), producer.__name__
        process = self.system.launch(*arguments, module=module, environment=environment)
        member = Member(role, place, process)
        self.members.append(member)
        return member

    def launch_producers(self) -> None:
        for place in range(self.setup.producers):
            self.launch("producer", place)

    def produced(self) -> bool:
        """Every producer has had everything acknowledged, and left."""
        members = [one for one in self.members if one.role == "producer"]
        return len(members) > 0 and all(one.process.poll() == 0 for one in members)

    async def tend(self) -> None:
        """Replace who dies, until cancelled."""
        while True:
            for member in tuple(self.members):
                code = member.process.poll()
                if code is not None and not (member.role == "producer" and code == 0):
                    self._replace(member, code)
            await asyncio.sleep(LOOK_S)

    def _replace(self, member: Member, code: int) -> None:
        if not member.doomed and (self.is_ready(member) or not self._is_passing(member, code)):
            self.wrote("died", victim=member.process.pid, role=member.role, code=code)
        self.members.remove(member)
        self.launch(member.role, member.place)

    def _is_passing(self, member: Member, code: int) -> bool:
        """As it began, a server was away, or would not do."""
        return code == UNREACHABLE or self.system.has_said(member.process, TURNED_AWAY)

    async def begin(self) -> None:
        """Everything but the producers works."""
        for role in ("worker", "scheduler"):
            for place in range(self.setup.count(role)):
                self.launch(role, place)
        await self.until(
            lambda: all(len(self.up(role)) == self.setup.count(role) for role in ("worker", "scheduler")), "all to work"
        )

    async def heal(self) -> None:
        """Whatever a fault has left behind is over."""
        for way in self.ways.values():
            way.heal()
        for member in self.members:
            if member.stopped:
                self.go_on(member)


@asynccontextmanager
async def rig(setup: Setup, redis: RedisServer, rabbit: RabbitServer, folder: Path) -> AsyncIterator[Rig]:
    """A rig over servers that it may kill, and its processes, none of which outlives it."""
    namespace = f"faults-{folder.name[-20:]}"
    async with AsyncExitStack() as stack:
        ways: dict[tuple[str, str], Proxy] = {}
        for role in ROLES:
            for server, url in zip(SERVERS, (redis.url, rabbit.url), strict=True):
                proxy = Proxy(url, name=f"{role}-{server}", seed=setup.seed)
                ways[role, server] = await stack.enter_async_context(proxy)
        app = f"{program.__name__}:app"
        system = stack.enter_context(launcher(redis.url, rabbit.url, namespace, folder, app))
        client = await stack.enter_async_context(Client(App(namespace), redis.url, rabbit.url))
        yield Rig(setup, redis, rabbit, system, ways, client)
