"""From a URL to a broker, loading only the library that it needs."""

from __future__ import annotations

from runner.broker import Broker
from runner.urls import scheme_of


def open_broker(url: str, *, namespace: str) -> Broker:
    """The broker of a URL, not opened yet. Raises ConfigError for a URL that leads to none."""
    scheme = scheme_of(url, what="broker", known=("amqp", "amqps", "memory"))
    if scheme == "memory":
        from runner.broker.memory import MemoryBroker  # noqa: PLC0415

        return MemoryBroker(namespace)
    from runner.broker.rabbitmq import RabbitBroker  # noqa: PLC0415 - aio_pika is slow to load

    return RabbitBroker(url, namespace=namespace)
