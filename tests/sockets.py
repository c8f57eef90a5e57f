"""A websocket client for consumers under test.

Channels' own `WebsocketCommunicator` cannot be imported without Daphne, a second ASGI server; this is the part we need.
"""

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator


class Socket(ApplicationCommunicator):
    """One connection to `application` at `path`, as `user`."""

    def __init__(self, application: Any, path: str, user: Any, query: str = "") -> None:
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": [],
            "subprotocols": [],
            "user": user,
        }
        super().__init__(application, scope)

    async def connect(self, timeout: float = 3) -> tuple[bool, int | None]:
        """(accepted, close code when refused)."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(timeout)
        return answer["type"] == "websocket.accept", answer.get("code")

    async def say(self, message: Any) -> None:
        await self.send_input({"type": "websocket.receive", "text": json.dumps(message)})

    async def hear(self, timeout: float = 3) -> Any:
        answer = await self.receive_output(timeout)
        assert answer["type"] == "websocket.send", answer
        return json.loads(answer.get("text") or answer["bytes"])

    async def closed(self, timeout: float = 3) -> int:
        """The code the server closes with; messages before it are skipped."""
        while (answer := await self.receive_output(timeout))["type"] != "websocket.close":
            pass
        return answer["code"]

    async def leave(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(3)
