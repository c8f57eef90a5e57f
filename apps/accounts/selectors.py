"""Reads on people and their credentials."""

import hmac
from datetime import datetime
from typing import Any

from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from .models import TOKEN_PREFIX, ApiToken, BrowserSession, User, digest_of
from .roles import PlatformRole

SECRET_LENGTH = 200  # Longer than any token; what is longer is not hashed.


def token_for(secret: str) -> ApiToken | None:
    """The usable token with this secret, its user loaded, or None. One lookup by digest, whatever is wrong with it."""
    if not secret.startswith(TOKEN_PREFIX) or len(secret) > SECRET_LENGTH:
        secret = TOKEN_PREFIX
    digest = digest_of(secret)
    token = ApiToken.objects.usable().select_related("user").filter(digest=digest).first()
    return token if token is not None and hmac.compare_digest(token.digest, digest) else None


def tokens_of(user: Any) -> QuerySet[ApiToken]:
    """All tokens of a person, newest first, also those that ended: people look for when."""
    return ApiToken.objects.filter(user=user)


def sessions_of(user: Any) -> QuerySet[BrowserSession]:
    """The browsers in which a person is signed in now, newest first."""
    live = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    return BrowserSession.objects.filter(user=user, session_key__in=live)


def is_platform_admin(user: Any) -> bool:
    """Whether `user` may set platform roles and create projects."""
    return bool(
        user is not None
        and user.is_active
        and (user.is_superuser or getattr(user, "platform_role", "") == PlatformRole.PLATFORM_ADMIN)
    )


def person(username: str) -> User | None:
    """The active person with this user name, or None."""
    return User.objects.filter(username=username, is_active=True).first()


def may_still_connect(*, user: Any, token: ApiToken | None, session: Any) -> User | None:
    """The person behind an open socket, read anew, or None when their account, token or session has ended."""
    fresh = User.objects.filter(pk=getattr(user, "pk", None) or 0, is_active=True).first()
    if fresh is None:
        return None
    if token is not None:
        return fresh if ApiToken.objects.usable().filter(pk=token.pk).exists() else None
    if session is not None and (key := session.session_key):
        stored = session.__class__(key)
        expected = fresh.get_session_auth_hash()
        if not hmac.compare_digest(str(stored.get("_auth_user_hash", "")), expected):
            return None
    return fresh


def expired_before(moment: datetime) -> QuerySet[ApiToken]:
    """Tokens that ended, by expiry or revocation, before `moment`."""
    return ApiToken.objects.filter(expires_at__lt=moment) | ApiToken.objects.filter(revoked_at__lt=moment)
