"""Everything the doctor knows, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.broker.vitals import BrokerVitals
from runner.records import WorkerInfo
from runner.store.vitals import NO_DEMANDS, Demands, Losses, StoreVitals


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting as this process has it; ``source``: flag, variable, file or default. Secrets are masked."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """What RabbitMQ's management API tells: nodes that are short of memory or disk, or away."""

    nodes: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """``leader``: the scheduler that leads, empty when none does. ``workers``: also those that died a while ago.

    ``laid_out``: somebody has worked in this namespace.
    """

    vitals: StoreVitals
    losses: Losses
    leader: str = ""
    workers: tuple[WorkerInfo, ...] = ()
    backlog: Mapping[str, int] = field(default_factory=dict[str, int])
    laid_out: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """``alarms``: what the management API told, why it did not, or None when nobody named it."""

    vitals: BrokerVitals
    takes_messages: bool | None
    alarms: Alarms | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``store`` and ``broker``: what they told, or why they cannot be reached; ``broker`` None: there is none to ask.

    ``queues``: those of the app's workflows, where its code is at hand.
    """

    namespace: str
    store: StoreFacts | str
    broker: BrokerFacts | str | None = None
    queues: tuple[str, ...] = ()
    demands: Demands = NO_DEMANDS
    settings: tuple[Setting, ...] = ()

    @property
    def unreachable(self) -> bool:
        return isinstance(self.store, str) or isinstance(self.broker, str)
