"""The audit trail. Services record what was done inside their own transaction; doors record what was refused."""

import hashlib
import ipaddress
import logging
from collections.abc import Mapping
from typing import Any

import structlog
from django.core.cache import cache
from django.db import DatabaseError, transaction
from redis.exceptions import RedisError

from .choices import AuditOutcome
from .models import AuditEntry

logger = logging.getLogger(__name__)
SECRET_WORDS = ("password", "secret", "token", "kubeconfig", "key", "credential", "authorization")
MASK = "•••"
REFUSALS_A_MINUTE = 60  # per actor and address; more are counted, not stored, so that a scanner cannot fill the table


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
    entry(actor=actor, action=action, target=target, project=project, outcome=outcome, detail=detail).save()


def entry(
    *,
    actor: Any,
    action: str,
    target: object = "",
    project: str = "",
    outcome: AuditOutcome = AuditOutcome.DONE,
    detail: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """What `record` appends, not saved: for services that do the same to many and save all at once."""
    context = structlog.contextvars.get_contextvars()
    known = actor if getattr(actor, "pk", None) else None
    return AuditEntry(
        actor=known,
        actor_name=known.get_username() if known else "",
        action=printable(action)[:64],
        outcome=outcome,
        target=printable(str(target))[:200],
        project_slug=printable(project)[:63],
        detail=masked(detail or {}),
        ip_address=address(context.get("ip")),
        request_id=str(context.get("request_id", ""))[:64],
    )


def record_refused(
    *, actor: Any, action: str, target: object = "", project: str = "", detail: Mapping[str, Any] | None = None
) -> None:
    """Append one refused attempt, at most `REFUSALS_A_MINUTE` per actor and address; the next entry counts the rest.

    Never raises: a refusal stays a refusal when the trail cannot be written, and the log says so.
    """
    ip = address(structlog.contextvars.get_contextvars().get("ip"))
    unrecorded = _room_for(f"{getattr(actor, 'pk', None) or '-'}|{ip}")
    if unrecorded is None:
        return
    told = {**(detail or {}), **({"not_recorded_before": unrecorded} if unrecorded else {})}
    try:
        with transaction.atomic():
            record(
                actor=actor,
                action=action,
                target=target,
                project=project,
                outcome=AuditOutcome.REFUSED,
                detail=told,
            )
    except DatabaseError:
        logger.exception("a refused attempt could not be recorded", extra={"action": action})


def _room_for(who: str) -> int | None:
    """None when this minute is full, else how many were left out since the last entry."""
    name = hashlib.sha256(who.encode()).hexdigest()[:32]
    recent, left_out = f"refusals:{name}", f"refusals-left-out:{name}"
    try:
        cache.add(recent, 0, 60)
        if cache.incr(recent) > REFUSALS_A_MINUTE:
            cache.add(left_out, 0, 24 * 3600)
            cache.incr(left_out)
            return None
        missed = int(cache.get(left_out) or 0)
        if missed:
            cache.delete(left_out)
    except (RedisError, OSError, ValueError):  # ValueError: the counter expired in between.
        return 0
    return missed


def address(text: object) -> str | None:
    """An IP address the column accepts, without a zone; None for anything else, such as a Unix socket."""
    try:
        return str(ipaddress.ip_address(str(text).partition("%")[0]))
    except ValueError:
        return None


def printable(text: str) -> str:
    """Without what would break a log line or a column: a target may come straight from a stranger's address bar."""
    return "".join(c if c.isprintable() else "�" for c in text)
