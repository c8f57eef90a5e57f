"""Who is asking: the administrator's token, a ServiceAccount's, or nobody in particular; and impersonation."""

from __future__ import annotations

import hmac

from aiohttp import web

from . import errors
from .call import Identity
from .tokens import Tokens

ADMIN = Identity("kubernetes-admin", ("system:masters", "system:authenticated"))
ANONYMOUS = Identity("system:anonymous", ("system:unauthenticated",))


class Authenticator:
    def __init__(self, fixed: dict[str, Identity], tokens: Tokens) -> None:
        self._fixed, self._tokens = fixed, tokens

    def identify(self, request: web.Request) -> Identity:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return ANONYMOUS  # other schemes are not looked at, as by a real server
        who = self.of_token(token.strip())
        if who is None:
            raise errors.unauthorized()
        return impersonated(request, who)

    def of_token(self, token: str) -> Identity | None:
        for known, identity in self._fixed.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return identity
        return self._tokens.identify(token)


def impersonated(request: web.Request, who: Identity) -> Identity:
    """Only the administrator may act as somebody else (`kubectl --as`)."""
    user = request.headers.get("Impersonate-User")
    if not user:
        return who
    if not who.is_admin:
        why = f'User "{who.name}" cannot impersonate resource "users" in API group "" at the cluster scope'
        raise errors.forbidden("users", "", user, why)
    groups = request.headers.getall("Impersonate-Group", [])
    if user.startswith("system:serviceaccount:"):
        groups += ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}"]
    return Identity(user, (*groups, "system:authenticated"))
