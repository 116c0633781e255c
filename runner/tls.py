"""What goes wrong when a connection is to be secured, and the cure; certificates are always verified. Pure but for files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from runner.errors import ConfigError

_SECURED = ("rediss", "amqps")

#: What OpenSSL says, and what to do about it: the first that fits.
_CURES: tuple[tuple[str, str], ...] = (
    ("certificate has expired", "have the server's certificate renewed, or this machine's clock set"),
    ("certificate is not yet valid", "set this machine's clock, or wait for the server's certificate"),
    (
        "certificate is not valid for",
        "the server's certificate is for another host: write the name it is for in the URL",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "name the file with its authority's certificate in the URL: {authority}=/path/to/ca.pem",
    ),
    ("CERTIFICATE_REQUIRED", "the server wants a certificate of ours: name it in the URL, {own}"),
    ("WRONG_VERSION_NUMBER", "that port does not speak TLS: use the server's TLS port"),
    ("ALERT_UNKNOWN_CA", "the server does not trust the authority of our certificate"),
    ("ALERT_CERTIFICATE_EXPIRED", "have our own certificate renewed"),
    ("ALERT_BAD_CERTIFICATE", "the server does not take our certificate"),
)
#: A server that misses our certificate closes, and what it says of that may be lost on the way.
_CLOSED = ("HANDSHAKE_FAILURE", "EOF occurred in violation", "reset by peer", "Connection closed by server")
_DOUBT = "does the server want a certificate of ours? Name it in the URL, {own}"


@dataclass(frozen=True, slots=True)
class Tls:
    """How a URL says what TLS needs: the names of its options, and whether it secures at all."""

    authority: str
    certificate: str
    key: str
    secured: bool
    given: Mapping[str, str]

    @classmethod
    def of(cls, url: str, authority: str, certificate: str, key: str) -> Tls:
        parts = urlsplit(url)
        given = {name: value for name, value in parse_qsl(parts.query) if name in (authority, certificate, key)}
        return cls(authority, certificate, key, parts.scheme in _SECURED, given)

    def check_files(self) -> None:
        """Raises ConfigError for a file that cannot be read: later, that would look like a server that is away."""
        for option, path in self.given.items():
            try:
                Path(path).open("rb").close()
            except OSError as error:
                raise ConfigError(f"{option}={path} in a URL cannot be read: {error.strerror}") from None

    def cured(self, said: str) -> str:
        """What a library said of a failed connection, with the cure when TLS was what failed."""
        own = f"{self.certificate}=... and {self.key}=..."
        for sign, cure in _CURES:
            if sign in said:
                return f"{said} ({cure.format(authority=self.authority, own=own)})"
        doubtful = self.secured and self.certificate not in self.given and any(sign in said for sign in _CLOSED)
        return f"{said} ({_DOUBT.format(own=own)})" if doubtful else said


def in_the_clear(url: str) -> bool:
    """True when what is said to this server, its password included, can be read on the way: no TLS, another machine."""
    parts = urlsplit(url)
    if parts.scheme in _SECURED:
        return False
    host = parts.hostname or "localhost"
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")
