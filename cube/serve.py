"""One web process of several on one port: `python -m cube.serve HOST PORT`.

Each listens with SO_REUSEPORT, and the kernel shares new connections out among those that live. (Processes that accept
from one inherited socket do not share: measured, whichever wakes first takes all that wait.) On Kubernetes a Service
does the same for pods, and each pod runs plain uvicorn.
"""

import socket
import sys

import uvicorn


def listen(host: str, port: int) -> socket.socket:
    """A bound socket whose port the other web processes, and nobody else's, may share."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    config = uvicorn.Config(
        "cube.asgi:application",
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listen(host, port)])


if __name__ == "__main__":
    main()
