"""RabbitMQ's management API: the only place where it tells of its alarms."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from runner.doctor.facts import Alarms
from runner.errors import BrokerUnavailable, ConfigError
from runner.urls import masked

TIMEOUT_S = 5.0


def alarms_at(url: str) -> Alarms:
    """Blocks for at most a few seconds. Raises ConfigError for what is no URL of it, BrokerUnavailable when it does not tell."""
    request = _request(url)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http or https, checked
            return alarms_of(json.load(answer))
    except urllib.error.HTTPError as refusal:
        with refusal:  # it is the answer, still open
            raise BrokerUnavailable(f"{masked(url)}: {refusal}") from None
    except (OSError, ValueError) as error:
        raise BrokerUnavailable(f"{masked(url)}: {error}") from None


def alarms_of(nodes: Any) -> Alarms:
    """From what ``/api/nodes`` answers. Pure."""
    told = [one for one in nodes if isinstance(one, dict)] if isinstance(nodes, list) else []
    return Alarms(
        nodes=tuple(str(one.get("name", "?")) for one in told),
        alarms=tuple(f"{one.get('name', '?')} {what}" for one in told for what in _wrong_with(one)),
    )


def _wrong_with(node: dict[str, Any]) -> list[str]:
    if not node.get("running", True):
        return ["does not run"]
    short = {"mem_alarm": "is short of memory", "disk_free_alarm": "is short of disk"}
    return [text for name, text in short.items() if node.get(name)]


def _request(url: str) -> urllib.request.Request:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"the management URL is http://user:password@host:15672, not {masked(url)!r}")
    where = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], f"{parts.path.rstrip('/')}/api/nodes", "", ""))
    login = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
    coded = base64.b64encode(login.encode()).decode()
    return urllib.request.Request(where, headers={"Authorization": f"Basic {coded}"})  # noqa: S310
