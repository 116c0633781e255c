"""From facts to checks, in the order in which to read them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from runner.checks import Check, fail, ok, warn
from runner.doctor.brokers import check_broker
from runner.doctor.facts import BrokerFacts, Facts, StoreFacts
from runner.doctor.fleets import check_fleet
from runner.doctor.stores import check_readable, check_store
from runner.store.durability import PROMISES, disagreement
from runner.store.vitals import Losses

SECTIONS = ("store", "broker", "fleet", "namespace")


def section_of(check: Check) -> str:
    return check.code.partition(".")[0]


def diagnose(facts: Facts) -> list[Check]:
    return [*_of_store(facts), *_of_broker(facts), *_of_fleet(facts), *_of_namespace(facts)]


def _of_store(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.store, str):
        yield fail("store.server", f"unreachable: {facts.store}", "is it running, and is --store right?")
        return
    yield from check_store(facts.store.vitals, facts.demands)
    yield from check_readable(facts.store.vitals)


def _of_broker(facts: Facts) -> Iterator[Check]:
    match facts.broker:
        case None:
            yield ok("broker.server", "memory of the process that holds the store")
        case str():
            yield fail("broker.server", f"unreachable: {facts.broker}", "is it running, and is --broker right?")
        case BrokerFacts():
            yield from check_broker(facts.broker)


def _of_fleet(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.store, StoreFacts):
        yield from check_fleet(facts.store, facts.queues)


def _of_namespace(facts: Facts) -> Iterator[Check]:
    if isinstance(facts.store, StoreFacts):
        yield _partitions(facts.namespace, facts.store)
        yield _promise(facts, facts.store)
        yield from _breaks(facts.store)
        yield _losses(facts.store.losses)


def _partitions(namespace: str, store: StoreFacts) -> Check:
    code = "namespace.partitions"
    if store.laid_out:
        return ok(code, f"{namespace}: {store.vitals.partitions} partitions")
    cure = "is the name right? The first process that works in it lays it out"
    return warn(code, f"nothing has been kept in namespace {namespace!r} yet", cure)


def _promise(facts: Facts, store: StoreFacts) -> Check:
    code, declared = "namespace.durability", store.vitals.declared
    if conflict := disagreement(facts.demands.durability, declared, facts.namespace):
        return fail(code, conflict, "")
    if declared is not None:
        return ok(code, f"{declared}: {PROMISES[declared]}")
    if store.vitals.kind == "sqlite" and store.vitals.facts["file"]:
        return ok(code, f"a file: {PROMISES['fsync']}")
    return warn(code, PROMISES[None], "declare it in all processes: RUNNER_DURABILITY=fsync (or everysec)")


def _breaks(store: StoreFacts) -> Iterator[Check]:
    if store.vitals.breaks:
        text = (
            f"{store.vitals.breaks} times the server came back with less than was declared, "
            f"last at {_moment(store.vitals.broken_at)}: {store.vitals.broken_why}"
        )
        yield warn("namespace.broken", text, "look for who changes the server's configuration")


def _losses(losses: Losses) -> Check:
    if not losses.rewound and not losses.orphaned:
        return ok("namespace.losses", "no hint has told of a lost write")
    text = (
        f"acknowledged writes were lost, or hints forged; last found at {_moment(losses.last_at)}: "
        f"{losses.rewound:,} executions went back in time{_examples(losses.rewound_ids)}, "
        f"{losses.orphaned:,} are unknown{_examples(losses.orphaned_ids)}"
    )
    cure = "start again what is unknown; then `runner doctor --forget-losses --yes`, and see to the store's durability"
    return fail("namespace.losses", text, cure)


def _examples(ids: tuple[str, ...]) -> str:
    return f" (such as {', '.join(ids[:3])})" if ids else ""


def _moment(ms: int | None) -> str:
    if ms is None:
        return "an unknown time"
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat(timespec="seconds")
