"""What the facts of a broker mean. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runner.broker.vitals import BrokerVitals
from runner.checks import Check, fail, ok, unread, warn
from runner.doctor.facts import Alarms, BrokerFacts

OLDEST = (3, 10)


def check_broker(facts: BrokerFacts) -> Iterator[Check]:
    vitals = facts.vitals
    yield _server(vitals)
    yield _topology(vitals)
    yield _takes(taken=facts.takes_messages)
    if vitals.kind == "rabbitmq":
        yield _alarms(facts.alarms)
        yield unread(
            "broker.consumer_timeout",
            "consumer_timeout cannot be seen from here; deliveries are acknowledged within 60 s, so the default is fine",
            "look for it with `rabbitmq-diagnostics environment`: anything above 2 minutes will do",
        )
    yield _dead(vitals)
    yield _orphans(vitals)


def _server(vitals: BrokerVitals) -> Check:
    if vitals.kind == "memory":
        return ok("broker.server", vitals.name)
    text = f"{vitals.product or 'an AMQP server'} {vitals.version} at {vitals.name}"
    numbers = tuple(int(part) for part in vitals.version.split(".")[:2] if part.isdecimal())
    if vitals.product != "RabbitMQ":
        return warn("broker.server", text, "Runner is tested with RabbitMQ")
    return fail("broker.server", text, "use RabbitMQ 3.10 or newer") if numbers < OLDEST else ok("broker.server", text)


def _topology(vitals: BrokerVitals) -> Check:
    if vitals.drifts:
        told = "; ".join(f"{one.what}: {one.differs}" for one in vitals.drifts)
        cure = "stop what uses it, delete it, and start again: hints in it are published again"
        return fail("broker.topology", f"not as Runner declares it: {told}", cure)
    if vitals.missing:
        return ok(
            "broker.topology", f"not declared yet (the first process that needs it does): {', '.join(vitals.missing)}"
        )
    if vitals.uncompared:
        cure = "ask as a user who may declare it, such as the scheduler's"
        return unread("broker.topology", f"this user may not compare {', '.join(vitals.uncompared)}", cure)
    return ok("broker.topology", "exchanges and queues are as Runner declares them")


def _takes(*, taken: bool | None) -> Check:
    if taken is None:
        return unread("broker.publishing", "this user may not publish", "ask as a user who may write to the exchange")
    if taken:
        return ok("broker.publishing", "a message was confirmed")
    cure = "free memory or disk: `rabbitmq-diagnostics alarms` names what is short"
    return fail("broker.publishing", "a message was not confirmed in time: publishers are blocked", cure)


def _alarms(alarms: Alarms | str | None) -> Check:
    match alarms:
        case None:
            cure = "name the management API (RUNNER_BROKER_MANAGEMENT_URL), or ask `rabbitmq-diagnostics alarms`"
            return unread("broker.alarms", "alarms cannot be seen over AMQP", cure)
        case str():
            return unread(
                "broker.alarms", f"the management API did not tell: {alarms}", "look at URL, user and password"
            )
        case Alarms(alarms=()):
            return ok("broker.alarms", f"none on {', '.join(alarms.nodes)}")
        case Alarms():
            return fail("broker.alarms", "; ".join(alarms.alarms), "free memory or disk, or start the node")


def _dead(vitals: BrokerVitals) -> Check:
    if not vitals.dead_letters:
        return ok("broker.dead_letters", "no dead letters")
    cure = "look at them with `runner queues dead-letters`"
    return warn("broker.dead_letters", f"{vitals.dead_letters:,} messages that nobody could read", cure)


def _orphans(vitals: BrokerVitals) -> Check:
    if not vitals.orphans:
        return ok("broker.orphans", "no orphans")
    cure = "the store has lost them, or was emptied: compare with namespace.losses"
    return warn("broker.orphans", f"{vitals.orphans:,} hints for executions that the store does not know", cure)
