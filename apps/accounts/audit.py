"""The audit trail. Services record what was done inside their own transaction; doors record what was refused."""

from collections.abc import Mapping
from typing import Any

import structlog

from .choices import AuditOutcome
from .models import AuditEntry

SECRET_WORDS = ("password", "secret", "token", "kubeconfig", "key", "credential", "authorization")
MASK = "•••"


def masked(value: Any, name: str = "") -> Any:
    """The same structure with every value under a secret-sounding name replaced. Long texts are cut."""
    if any(word in name.lower() for word in SECRET_WORDS) and value not in (None, "", [], {}):
        return MASK
    match value:
        case Mapping():
            return {str(k): masked(v, str(k)) for k, v in value.items()}
        case list() | tuple():
            return [masked(v, name) for v in value]
        case str() if len(value) > 500:
            return value[:500] + "…"
        case str() | int() | float() | bool() | None:
            return value
    return str(value)


def record(
    *,
    actor: Any,
    action: str,
    target: object = "",
    project: str = "",
    outcome: AuditOutcome = AuditOutcome.DONE,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append one entry. `actor` is a user, or None for the system itself; `project` is a slug."""
    context = structlog.contextvars.get_contextvars()
    known = actor if getattr(actor, "pk", None) else None
    AuditEntry.objects.create(
        actor=known,
        actor_name=known.get_username() if known else "",
        action=action,
        outcome=outcome,
        target=str(target)[:200],
        project_slug=project,
        detail=masked(detail or {}),
        ip_address=context.get("ip") or None,
        request_id=str(context.get("request_id", ""))[:64],
    )
