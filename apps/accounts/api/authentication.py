"""API tokens at the REST doors."""

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS

from apps.accounts import bearer, selectors, services
from apps.accounts.choices import TokenScope
from apps.accounts.models import ApiToken, User


class BearerTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer cube_…`. A bad token is 401; a read-only one that tries to write is 403.

    The scope is held here rather than in a permission, so that no view can forget it.
    """

    def authenticate(self, request: Any) -> tuple[User, ApiToken] | None:
        secret = bearer.secret_in(request.META.get("HTTP_AUTHORIZATION", ""))
        if secret is None:
            return None
        token = selectors.token_for(secret)
        if token is None:
            raise AuthenticationFailed(_("The token is unknown, expired or revoked."))
        if token.scope != TokenScope.WRITE and request.method not in SAFE_METHODS:
            request._request.refused_actor = token.user  # DRF forgets who asked; the audit trail should not.
            raise PermissionDenied(_("This token may only read. Create one that may write."))
        services.note_use(token=token)
        return token.user, token

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"
