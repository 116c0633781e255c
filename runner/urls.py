"""Backend URLs: told apart by scheme, and never shown with their password."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from runner.errors import ConfigError


def scheme_of(url: str, *, what: str, known: tuple[str, ...]) -> str:
    """The scheme of a URL. Raises ConfigError, naming the schemes that are known, for any other."""
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if scheme not in known:
        schemes = ", ".join(f"{one}://" for one in known)
        raise ConfigError(f"{what} URL {masked(url)!r}: unknown scheme {scheme!r}; known: {schemes}")
    return scheme


def masked(url: str) -> str:
    """The URL with ``***`` for its password, and without its query."""
    try:
        parts = urlsplit(url)
        if parts.password is None:
            netloc = parts.netloc
        else:
            netloc = f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}"
    except ValueError:
        return "(unreadable URL)"
    if not netloc and "://" in url:  # urlunsplit would leave out the slashes of sqlite:///file
        return f"{parts.scheme}://{parts.path}"
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))
