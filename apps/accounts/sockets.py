"""Who is at the other end of a websocket: a session (browser) or a bearer token (program)."""

from channels.auth import AuthMiddlewareStack as SocketIdentity

__all__ = ["SocketIdentity"]
