"""What is said of a record that cannot be read, whichever store it is in."""

from __future__ import annotations

from runner.errors import PayloadError


def unreadable(id: str, why: object) -> PayloadError:
    """It must not look like a bug of ours: it names the execution, and where to look."""
    return PayloadError(
        f"the record of execution {id!r} cannot be read ({why}): it was changed by hand, or by a newer version; "
        f"`runner fsck` says what can be done",
        path=id,
    )
