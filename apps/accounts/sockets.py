"""Who is at the other end of a websocket: a session (browser) or a bearer token (program)."""

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.security.websocket import AllowedHostsOriginValidator

from . import bearer, services
from .models import ApiToken

UNKNOWN_TOKEN = 4401


class SocketIdentity:
    """Puts `user` (and `token`, or None) into the scope.

    Browsers come with a cookie, so their Origin must be ours; programs come with a token in the Authorization header,
    which no foreign page can make a browser send. A token in the address is never looked at.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.for_browsers = AllowedHostsOriginValidator(AuthMiddlewareStack(inner))

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if header is None:
            return await self.for_browsers({**scope, "token": None}, receive, send)
        token = await database_sync_to_async(identify)(header.decode("latin-1"))
        if token is None:
            return await send({"type": "websocket.close", "code": UNKNOWN_TOKEN})
        return await self.inner({**scope, "user": token.user, "token": token}, receive, send)


def identify(header: str) -> ApiToken | None:
    """The usable token of an Authorization header; its use is noted."""
    token = bearer.token_in(header)
    if token is not None:
        services.note_use(token=token)
    return token


class NoSuchSocket(AsyncWebsocketConsumer):
    """The last route: an unknown address is refused rather than an error in the log."""

    async def connect(self) -> None:
        await self.close(code=4404)
