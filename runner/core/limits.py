"""How much one run may record: every claim reads all of it."""

from __future__ import annotations

#: Entries, and bytes of their payloads.
MAX_ENTRIES, MAX_BYTES = 10_000, 50 * 1024 * 1024
#: From this share of either on, each turn warns.
WARN_FULLNESS = 0.8
