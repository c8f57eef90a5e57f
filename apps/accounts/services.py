"""Writes on people, their credentials and sessions: one verb, one transaction, one audit entry."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.contrib.auth import password_validation
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput, NotAllowed
from apps.core.events import publish
from apps.core.validation import clean

from . import audit, selectors
from .choices import TokenScope
from .events import AccessReduced
from .models import ApiToken, BrowserSession, User, digest_of
from .roles import PlatformRole

MAX_TOKENS = 50  # usable ones, per person
USE_NOTED_EVERY = timedelta(minutes=1)
ENDED_TOKENS_KEPT = timedelta(days=90)


# -- people ----------------------------------------------------------------------------------------------------------
@transaction.atomic
def create_user(
    *,
    username: str,
    email: str = "",
    first_name: str = "",
    last_name: str = "",
    password: str | None = None,
    platform_role: PlatformRole = PlatformRole.NONE,
    actor: User | None = None,
) -> User:
    """Make an account. Without a password nobody can sign in to it until one is set: there is no default.

    Raises InvalidInput, and NotAllowed when `actor` may not give the platform role.
    """
    if platform_role:
        _require_platform_admin(actor)
    user = User(username=username, email=email, first_name=first_name, last_name=last_name)
    user.platform_role = platform_role
    if password is None:
        user.set_unusable_password()
    else:
        _check_password(password, user, field="password")
        user.set_password(password)
    clean(user)
    user.save()
    audit.record(actor=actor, action="user.create", target=user, detail={"platform_role": str(platform_role)})
    return user


@transaction.atomic
def update_profile(*, user: User, changes: Mapping[str, str], actor: User | None) -> User:
    """Change `email`, `first_name` or `last_name`. Raises InvalidInput."""
    fields = [name for name in ("email", "first_name", "last_name") if name in changes]
    for name in fields:
        setattr(user, name, changes[name])
    clean(user, exclude={field.name for field in User._meta.fields} - set(fields))
    user.save(update_fields=fields)
    audit.record(actor=actor, action="user.update", target=user, detail={"changed": fields})
    return user


@transaction.atomic
def set_platform_role(*, user: User, role: PlatformRole, actor: User | None) -> User:
    """Give a person a platform role, or none. Only a superuser or platform admin (or the system, None) may.

    Raises NotAllowed, also when it would leave nobody who can set platform roles.
    """
    _require_platform_admin(actor)
    if role not in PlatformRole.values:
        raise InvalidInput({"platform_role": _("There is no such role.")})
    before = User.objects.select_for_update().get(pk=user.pk).platform_role
    if before == PlatformRole.PLATFORM_ADMIN and role != PlatformRole.PLATFORM_ADMIN:
        _require_another_admin(user)
    user.platform_role = role
    user.save(update_fields=["platform_role"])
    audit.record(
        actor=actor, action="user.set_platform_role", target=user, detail={"before": before, "after": str(role)}
    )
    publish(AccessReduced(user_id=user.pk))
    return user


@transaction.atomic
def deactivate_user(*, user: User, actor: User | None) -> User:
    """Lock a person out: sessions end, tokens are revoked, open sockets close. What they made stays.

    Raises NotAllowed for oneself and for the last person who can set platform roles.
    """
    _require_platform_admin(actor)
    if actor is not None and actor.pk == user.pk:
        raise NotAllowed(_("You cannot deactivate your own account."))
    if selectors.is_platform_admin(user):
        _require_another_admin(user)
    user.is_active = False
    user.save(update_fields=["is_active"])
    ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=timezone.now())
    _end_sessions(user, keep="")
    audit.record(actor=actor, action="user.deactivate", target=user)
    publish(AccessReduced(user_id=user.pk))
    return user


@transaction.atomic
def activate_user(*, user: User, actor: User | None) -> User:
    """Let a person sign in again. Their tokens stay revoked."""
    _require_platform_admin(actor)
    user.is_active = True
    user.save(update_fields=["is_active"])
    audit.record(actor=actor, action="user.activate", target=user)
    return user


@transaction.atomic
def change_password(*, user: User, new: str, actor: User | None, current: str | None = None) -> User:
    """Set a new password; every other session of the person ends at its next request.

    A person changing their own proves the current one. Raises InvalidInput under `current` or `new`.
    """
    if actor is not None and actor.pk == user.pk and not user.check_password(current or ""):
        raise InvalidInput({"current": _("This is not your current password.")})
    _check_password(new, user, field="new")
    user.set_password(new)
    user.save(update_fields=["password"])
    audit.record(actor=actor, action="user.change_password", target=user)
    publish(AccessReduced(user_id=user.pk))
    return user


def _check_password(password: str, user: User, *, field: str) -> None:
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise InvalidInput({field: error.messages}) from None


def _require_platform_admin(actor: User | None) -> None:
    if actor is not None and not selectors.is_platform_admin(actor):
        raise NotAllowed(_("Only a platform admin may do this."))


def _require_another_admin(user: User) -> None:
    admins = User.objects.filter(Q(is_superuser=True) | Q(platform_role=PlatformRole.PLATFORM_ADMIN), is_active=True)
    if not user.is_superuser and not admins.exclude(pk=user.pk).exists():
        raise NotAllowed(_("%(user)s is the last platform admin. Give somebody else that role first.") % {"user": user})


# -- tokens ----------------------------------------------------------------------------------------------------------
@transaction.atomic
def create_token(
    *,
    user: User,
    name: str,
    scope: TokenScope = TokenScope.WRITE,
    expires_at: datetime | None = None,
    actor: User | None = None,
) -> tuple[ApiToken, str]:
    """Make a token and return it with its secret, which is kept nowhere: this is the only time it can be shown.

    Raises InvalidInput, and NotAllowed when the person already has `MAX_TOKENS` usable ones.
    """
    User.objects.select_for_update().get(pk=user.pk)  # Two requests at once count one after the other.
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInput({"expires_at": _("Choose a time in the future.")})
    if ApiToken.objects.usable().filter(user=user).count() >= MAX_TOKENS:
        raise NotAllowed(_("You have %(n)d tokens already. Revoke one you no longer use.") % {"n": MAX_TOKENS})
    secret = ApiToken.new_secret()
    token = ApiToken(user=user, name=name.strip(), scope=scope, expires_at=expires_at)
    token.prefix, token.digest = secret[:12], digest_of(secret)
    clean(token)
    token.save()
    detail = {"name": token.name, "scope": str(scope), "expires_at": expires_at and expires_at.isoformat()}
    audit.record(actor=actor, action="token.create", target=token, detail={"user": user.username, **detail})
    return token, secret


@transaction.atomic
def revoke_token(*, token: ApiToken, actor: User | None) -> ApiToken:
    """End a token at once, also for open sockets. Revoking twice changes nothing."""
    if token.revoked_at is not None:
        return token
    token.revoked_at = timezone.now()
    token.save(update_fields=["revoked_at", "updated_at"])
    audit.record(actor=actor, action="token.revoke", target=token, detail={"user": token.user.username})
    publish(AccessReduced(user_id=token.user_id))
    return token


def note_use(*, token: ApiToken) -> None:
    """Remember that a token was used, at most once a minute, so that reading stays reading."""
    now = timezone.now()
    if token.last_used_at is not None and token.last_used_at > now - USE_NOTED_EVERY:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_NOTED_EVERY)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


# -- sessions --------------------------------------------------------------------------------------------------------
@transaction.atomic
def remember_session(*, user: User, session_key: str, ip: str | None, user_agent: str) -> BrowserSession:
    """Note a browser that has just signed in."""
    agent = audit.printable(user_agent)[:200]
    session, _created = BrowserSession.objects.update_or_create(
        session_key=session_key,
        defaults={"user": user, "ip_address": audit.address(ip), "user_agent": agent, "signed_in_at": timezone.now()},
    )
    audit.record(actor=user, action="session.sign_in", target=user)
    return session


def rename_session(*, before: str, after: str) -> None:
    """Follow a session whose key was changed to keep it from being fixed by somebody else."""
    BrowserSession.objects.filter(session_key=before).update(session_key=after)


@transaction.atomic
def forget_session(*, user: User, session_key: str | None) -> None:
    """Note that somebody signed out."""
    BrowserSession.objects.filter(session_key=session_key or "").delete()
    audit.record(actor=user, action="session.sign_out", target=user)
    publish(AccessReduced(user_id=user.pk))


@transaction.atomic
def end_other_sessions(*, user: User, keep: str, actor: User | None) -> int:
    """Sign a person out of every browser but the one with the session key `keep`. Returns how many ended."""
    ended = _end_sessions(user, keep=keep)
    audit.record(actor=actor, action="session.end_others", target=user, detail={"ended": ended})
    publish(AccessReduced(user_id=user.pk))
    return ended


def _end_sessions(user: User, *, keep: str) -> int:
    others = BrowserSession.objects.filter(user=user).exclude(session_key=keep)
    Session.objects.filter(session_key__in=others.values("session_key")).delete()
    return others.delete()[0]


def forget_expired() -> dict[str, int]:
    """Delete expired sessions, and tokens that ended more than `ENDED_TOKENS_KEPT` ago. Returns how many of each."""
    now = timezone.now()
    sessions = Session.objects.filter(expire_date__lt=now).delete()[0]
    BrowserSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()
    tokens = selectors.expired_before(now - ENDED_TOKENS_KEPT).delete()[0]
    return {"sessions": sessions, "tokens": tokens}
