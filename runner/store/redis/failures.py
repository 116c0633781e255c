"""What a failed command means: ask again, or which of our errors it is."""

from __future__ import annotations

import re

from redis import exceptions as redis

from runner.errors import InfrastructureError, Overloaded, RunnerError, StoreUnavailable
from runner.store.unreadable import unreadable
from runner.tls import Tls

#: First words of answers that say "not now": the same command may succeed in a moment.
_NOT_NOW = ("BUSY ", "MISCONF ", "NOREPLICAS ", "UNKILLABLE ")
#: What a script is told when our user may not do one of the things it does.
_REFUSED_INSIDE = ("ACL failure in script", "The user executing the script")
_WRONG_LOGIN = (
    redis.AuthenticationError,
    redis.AuthorizationError,
    redis.NoPermissionError,
    redis.AuthenticationWrongNumberOfArgsError,
)
#: What our scripts say of a record that they cannot read, before they have written anything.
_UNREADABLE = re.compile(r"^UNREADABLE (.*) \((.*)\)(?: script: |$)", re.DOTALL)
_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.InvalidResponse,
    redis.ReadOnlyError,
    redis.NoScriptError,
    redis.TryAgainError,
    redis.ClusterDownError,
    OSError,
)


class WrongType(InfrastructureError):
    """A key is something else than a script or a command of ours needs: nobody but us should have written it.

    ``said``: what the server said of it.
    """

    def __init__(self, url: str, said: str) -> None:
        super().__init__(f"{url}: a key is of a type that it must not be ({said}): `runner fsck` says which it is")
        self.said = said


def is_refusal(error: Exception) -> bool:
    """True when the server does not let us in, or not do this: asking again would not help."""
    return isinstance(error, _WRONG_LOGIN) or str(error).startswith(_REFUSED_INSIDE)


def is_passing(error: Exception) -> bool:
    """True when the same command may be answered if it is sent again. It may have been executed already."""
    if is_refusal(error):
        return False
    return isinstance(error, _AWAY) or str(error).startswith(_NOT_NOW)


def reason(error: Exception, tls: Tls) -> str:
    """What the error says, with the cure if TLS was what failed; some say nothing but their name."""
    return tls.cured(str(error) or type(error).__name__)


def translate(error: Exception, url: str, tls: Tls) -> RunnerError:
    """The error our callers see; ``url`` has its password masked."""
    if isinstance(error, redis.OutOfMemoryError):
        return Overloaded(f"the store is at its memory limit: {url} refuses new work (raise maxmemory, or purge)")
    if is_refusal(error):
        return StoreUnavailable(f"{url} refuses us: {error} (check user, password and access rules)")
    if is_passing(error):
        return StoreUnavailable(f"{url} does not answer: {reason(error, tls)}")
    if said := _UNREADABLE.match(str(error)):
        return unreadable(said[2], said[1])
    if str(error).startswith("WRONGTYPE"):
        return WrongType(url, str(error))
    return InfrastructureError(f"{url} failed at a command of ours: {error}")
