"""The embedded Redis-compatible server: Valkey on a Unix socket with a password, so that nobody else can connect."""

from collections.abc import Callable
from pathlib import Path

import redis

from .programs import Program

CONFIG = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
requirepass "{password}"
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


def valkey(*, binary: Path, socket: Path, password: str, folder: Path, url: str) -> Program:
    """Writes the configuration (mode 0600, it holds the password) and clears a socket nobody listens on any more."""
    for place in (folder, socket.parent):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = folder / "valkey.conf"
    config.touch(mode=0o600)
    config.write_text(CONFIG.format(socket=socket, password=password, folder=folder))
    socket.unlink(missing_ok=True)
    return Program(
        name="valkey",
        command=(str(binary), str(config)),
        ready=answers(url),
        ready_within_seconds=20,
        grace_seconds=1.5,
    )


def answers(url: str) -> Callable[[], bool]:
    """A question: does the server at `url` answer PING?"""

    def ask() -> bool:
        client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except (redis.RedisError, OSError):
            return False
        finally:
            client.close()

    return ask
