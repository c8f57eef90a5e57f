"""Who is asking: bearer tokens of administrators and ServiceAccounts, or nobody in particular."""

from __future__ import annotations

import hmac

from aiohttp import web

from . import errors
from .objects import Identity

ADMIN = Identity("kubernetes-admin", ("system:masters", "system:authenticated"))
ANONYMOUS = Identity("system:anonymous", ("system:unauthenticated",))


class Authenticator:
    def __init__(self, tokens: dict[str, Identity]) -> None:
        self._tokens = tokens

    def identify(self, request: web.Request) -> Identity:
        header = request.headers.get("Authorization", "")
        if not header:
            return ANONYMOUS
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise errors.unauthorized()
        token = token.strip()
        for known, identity in self._tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return identity
        raise errors.unauthorized()
