"""Names of things: what they may look like, and where they come from when nobody gives one."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256

from runner.errors import ConfigError, UsageError

# No brace (it would move the hash slot of a Redis key), no bar or blank (they separate fields), no
# leading dot or dash (they mean something to shells and routing keys).
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_ID_RULE = "1 to 200 of the characters A-Z a-z 0-9 . _ : @ -, the first a letter or digit"
_NAME_RULE = "1 to 64 of the characters A-Z a-z 0-9 . _ -, the first a letter or digit"


def check_id(id: str, *, what: str = "execution id") -> str:
    """Returns ``id``. Raises UsageError, naming ``what``, when it cannot be an execution's id."""
    if _fits(_ID, id):
        return id
    raise UsageError(f"{what} {_shown(id)} does not fit: {_ID_RULE}")


def check_name(name: str, *, what: str = "name") -> str:
    """Returns ``name``. Raises UsageError, naming ``what``, when it cannot name a workflow, signal or queue."""
    if _fits(_NAME, name):
        return name
    raise UsageError(f"{what} {_shown(name)} does not fit: {_NAME_RULE}")


def check_queue(queue: str) -> str:
    """Returns ``queue``. Raises UsageError when it cannot be a queue's name."""
    return check_name(queue, what="queue name")


def check_namespace(namespace: str) -> str:
    """Returns ``namespace``. Raises ConfigError when it cannot be one."""
    if _fits(_NAME, namespace):
        return namespace
    raise ConfigError(f"namespace {_shown(namespace)} does not fit: {_NAME_RULE}")


def new_id() -> str:
    """A fresh execution id: 128 random bits in hex."""
    return secrets.token_hex(16)


def id_from_key(workflow: str, key: object) -> str:
    """The execution id of an idempotency key: the same on every machine, another for every pair.

    Raises UsageError for a key that is not text or cannot be stored.
    """
    if not isinstance(key, str) or not key:
        raise UsageError("idempotency_key: a text of at least one character is needed")
    try:
        parts = [part.encode() for part in (workflow, key)]
    except UnicodeEncodeError:
        raise UsageError("idempotency_key: holds half of a surrogate pair, which is no valid text") from None
    # The length in front keeps ("a", "bc") and ("ab", "c") apart.
    return "key-" + sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()[:40]


def _fits(rule: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and rule.fullmatch(text) is not None


def _shown(text: object) -> str:
    """Bounded and escaped: what comes from outside must not forge lines in a log."""
    if not isinstance(text, str):
        return f"of type {type(text).__name__}"
    return ascii(text) if len(text) <= 80 else f"{text[:80]!a}… ({len(text)} characters)"
