"""Where RabbitMQ is, and how to say it without its password. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, urlsplit

from runner.errors import ConfigError
from runner.tls import Tls
from runner.urls import masked

INSECURE_TLS = "RUNNER_INSECURE_TLS"


@dataclass(frozen=True, slots=True)
class Address:
    """``masked`` is what logs and errors may show; the URL itself never leaves this object by its repr."""

    url: str = field(repr=False)
    masked: str

    @property
    def tls(self) -> Tls:
        return Tls.of(self.url, "cafile", "certfile", "keyfile")


def parse_address(url: str, environ: Mapping[str, str]) -> Address:
    """Raises ConfigError for what is no AMQP URL, or one that switches the check of certificates off."""
    parts = _split(url)
    asked = parse_qs(parts.query, keep_blank_values=True).get("no_verify_ssl", ["0"])
    if asked != ["0"] and environ.get(INSECURE_TLS) != "1":
        raise ConfigError(
            f"the broker URL says no_verify_ssl, so anybody on the way could read and forge hints: give the "
            f"authority's certificate with ?cafile=... instead, or set {INSECURE_TLS}=1 if you mean it"
        )
    return Address(url=url, masked=masked(url))


def _split(url: str) -> SplitResult:
    # None of these messages may quote the URL: what cannot be parsed cannot be masked.
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and "@" not in parts.path
    except ValueError:
        parts, usable = urlsplit(""), False
    if not usable:
        raise ConfigError(
            "the broker URL cannot be read: expected amqp://user:password@host:5672/vhost, with every special "
            "character of user and password percent-encoded (/ as %2F, @ as %40)"
        )
    if parts.scheme not in {"amqp", "amqps"}:
        raise ConfigError(f"a RabbitMQ URL begins with amqp:// or amqps://, not {parts.scheme}://")
    return parts
