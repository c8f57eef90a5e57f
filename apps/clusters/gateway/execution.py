"""A program with a terminal in a container, over a WebSocket: the channel protocol that kubectl speaks.

Each message is one byte that names a channel, then its data. How the program ended comes as a Status on channel 3.
k8s.io/apimachinery/pkg/util/remotecommand; `v5` only adds a way to close one channel, which a terminal has no use for.
"""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
from django.utils.translation import gettext as _

from .answers import LONGEST_MESSAGE
from .base import Invalid, Unavailable

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
PING_SECONDS = 30.0
LARGEST_MESSAGE = 1024 * 1024  # a kubelet sends what it read at once: 32 KiB
Socket = aiohttp.ClientWebSocketResponse


class SocketExecution:
    """See `base.Execution`. aiohttp stops reading the connection at 64 KiB that nobody took, and waits when it writes
    more than the other side reads: so both directions hold little, whatever the program does."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self.exit_code: int | None = None

    async def output(self) -> AsyncIterator[bytes]:
        async for message in self._socket:
            if message.type not in {aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT}:
                break
            data = message.data.encode() if isinstance(message.data, str) else message.data
            if len(data) < 2:  # The first message only says that the connection stands.
                continue
            if data[0] in {STDOUT, STDERR}:
                yield data[1:]
            elif data[0] == ERROR:
                self.exit_code = exit_code(data[1:])
                return
        raise Unavailable(_("The connection to the container broke."))

    async def write(self, data: bytes) -> None:
        await self._send(STDIN, data)

    async def resize(self, *, columns: int, rows: int) -> None:
        await self._send(RESIZE, orjson.dumps({"Width": columns, "Height": rows}))

    async def _send(self, channel: int, data: bytes) -> None:
        try:
            await self._socket.send_bytes(bytes([channel]) + data)
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(_("The connection to the container broke.")) from error


def exit_code(body: bytes) -> int:
    """Of the Status with which a program ends. Raises Invalid with the runtime's words when it never began."""
    status = _status(body)
    if status.get("status") == "Success":
        return 0
    details = status.get("details")
    for cause in (details.get("causes") or ()) if isinstance(details, dict) else ():
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode" and str(cause.get("message")).isdecimal():
            return int(cause["message"])
    reason = str(status.get("reason") or "")
    raise Invalid(str(status.get("message") or reason or "-")[:LONGEST_MESSAGE], status=500, reason=reason)


def _status(body: bytes) -> dict[str, Any]:
    """Unlike the Status of an answer, the one on a channel need not say its kind."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"message": body[:200].decode(errors="replace")}
