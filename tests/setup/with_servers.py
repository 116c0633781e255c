"""Run a program with a private Redis and RabbitMQ: `python -m tests.setup.with_servers PROGRAM [ARGUMENT...]`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers import start_rabbitmq, start_redis


def main(command: list[str]) -> int:
    with TemporaryDirectory() as folder:
        redis = start_redis(Path(folder))
        try:
            rabbit = start_rabbitmq(Path(folder))
            try:
                urls = {"RUNNER_STORE_URL": redis.url, "RUNNER_BROKER_URL": rabbit.url}
                return subprocess.run(command, env=os.environ | urls).returncode
            finally:
                rabbit.kill()
        finally:
            redis.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
