"""Why a worker ends itself: what only another process can mend. Its supervisor starts one."""

from __future__ import annotations

from collections.abc import Callable

#: Exit codes, beside ``runner.loopwatch.EXIT_STALLED``. Both leave in good order first.
EXIT_DEAF = 71  # the broker holds hints for it, and no session brings them
EXIT_HUNG = 72  # too many threads hang in steps

#: Told the exit code, and why.
Leave = Callable[[int, str], None]
