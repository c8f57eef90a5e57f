import hashlib
import secrets
from typing import Any, Self

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.core.models import PublicIdModel, TimestampedModel

from .browsers import name_of
from .choices import AuditOutcome, TokenScope
from .roles import PlatformRole

TOKEN_PREFIX = "cube_"  # noqa: S105  A recognisable prefix lets secret scanners find leaked tokens.


class User(AbstractUser):
    """A person. `platform_role` opens the admin console; project roles are memberships."""

    platform_role = models.CharField(
        max_length=20,
        choices=PlatformRole.choices,
        default=PlatformRole.NONE,
        blank=True,
        help_text=_("What this person may do across all projects, through the admin console."),
    )

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.is_staff = self.is_superuser or bool(self.platform_role)
        if (fields := kwargs.get("update_fields")) is not None:
            kwargs["update_fields"] = {*fields, "is_staff"}
        super().save(*args, **kwargs)

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username


def digest_of(secret: str) -> str:
    """Tokens carry 256 random bits, so a plain SHA-256 is enough; nothing can be guessed back from it."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self) -> Self:
        now = timezone.now()
        return self.filter(revoked_at=None, user__is_active=True).filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=now)
        )


class ApiToken(PublicIdModel, TimestampedModel):
    """A named secret that speaks for a user. Only its digest is kept; the secret is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, editable=False, help_text=_("The first characters, to recognise it by."))
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scope = models.CharField(max_length=8, choices=TokenScope.choices, default=TokenScope.WRITE)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def new_secret() -> str:
        return TOKEN_PREFIX + secrets.token_urlsafe(32)

    @property
    def is_usable(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class BrowserSession(models.Model):
    """A browser in which somebody is signed in, so that they can recognise it and end it. Django holds the session."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="browser_sessions")
    session_key = models.CharField(max_length=40, unique=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)
    signed_in_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.user} from {self.ip_address or 'an unknown address'}"

    @property
    def browser(self) -> str:
        return name_of(self.user_agent)


class AuditEntry(models.Model):
    """Who did, or tried, what. Append-only: no service changes or deletes one. Secrets are masked before."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    actor_name = models.CharField(max_length=150, blank=True, help_text=_("Kept when the account is gone."))
    action = models.CharField(max_length=64, db_index=True, help_text=_("verb of the room, as in job.submit"))
    outcome = models.CharField(max_length=8, choices=AuditOutcome.choices, default=AuditOutcome.DONE)
    target = models.CharField(max_length=200, blank=True)
    project_slug = models.CharField(max_length=63, blank=True, db_index=True)
    detail = models.JSONField(default=dict, blank=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor_name or 'somebody'} {self.action} {self.target} ({self.outcome})"
