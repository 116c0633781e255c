"""The lock that makes a file one process's own, for as long as it is open."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from runner.errors import ConfigError


class FileLock:
    """Holds ``<path>.lock``; the kernel gives it back whatever becomes of the process.

    The file stays when the lock is given back: removing it would let two processes lock two files
    of the same name.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigError when another store, in this process or another, has the file open."""
        self._fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            if not isinstance(error, BlockingIOError):
                raise
            raise ConfigError(
                f"{path} is open in process {holder}, and an embedded store serves one process at a time: "
                f"stop that process, or use another file, or use redis:// for several processes"
            ) from None

    def give_back(self) -> None:
        os.close(self._fd)
