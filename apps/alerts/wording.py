"""The words and the JSON of a message, as they are when something changes. What is kept is what is sent."""

from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput

from .choices import Change, Condition
from .models import Channel, Incident

SUBJECT_LENGTH = 300


def of_incident(incident: Incident, change: Change) -> dict[str, Any]:
    """The columns of a delivery that tell of this change."""
    headline = _headline(incident, change)
    link = link_to(incident)
    lines = [headline, incident.message, _counted(incident), link]
    return {
        "subject": f"[Cube] {headline}"[:SUBJECT_LENGTH],
        "text": "\n".join(line for line in lines if line) + "\n",
        "payload": {
            "type": f"incident.{change.value}",
            "text": f"{headline} {link}".strip(),
            "incident": _facts(incident, link),
        },
    }


def _headline(incident: Incident, change: Change) -> str:
    about = f"{incident.project.slug}/{incident.about}"
    words = {
        Condition.FAILED: _("%(about)s failed"),
        Condition.LATE: _("%(about)s is late"),
        Condition.PAUSED: _("%(about)s paused itself"),
    }
    state = words[Condition(incident.condition)] % {"about": about}
    if change == Change.RESOLVED:
        condition = str(Condition(incident.condition).label)
        return _("%(about)s recovered (%(condition)s)") % {"about": about, "condition": condition}
    return _("Still open: %(state)s") % {"state": state} if change == Change.REMINDED else state


def _counted(incident: Incident) -> str:
    return _("Happened %(n)d times.") % {"n": incident.count} if incident.count > 1 else ""


def _facts(incident: Incident, link: str) -> dict[str, Any]:
    schedule, run = incident.schedule, incident.run
    return {
        "uid": str(incident.uid),
        "project": incident.project.slug,
        "rule": incident.rule.name,
        "condition": incident.condition,
        "pipeline": incident.pipeline.name,
        "schedule": schedule.name if schedule else None,
        "run": str(run.uid) if run else None,
        "message": incident.message,
        "count": incident.count,
        "opened_at": incident.opened_at.isoformat(),
        "last_at": incident.last_at.isoformat(),
        "closed_at": incident.closed_at.isoformat() if incident.closed_at else None,
        "url": link or None,
    }


def of_test(channel: Channel) -> dict[str, Any]:
    line = _("This is a test of the channel %(name)s of %(project)s.")
    headline = line % {"name": channel.name, "project": channel.project.slug}
    facts = {"project": channel.project.slug, "channel": channel.name}
    payload = {"type": "test", "text": headline, **facts}
    return {"subject": f"[Cube] {headline}"[:SUBJECT_LENGTH], "text": f"{headline}\n", "payload": payload}


def link_to(incident: Incident) -> str:
    """Empty when `CUBE_PORTAL_URL` is not set: a message that leads nowhere helps nobody."""
    if not settings.CUBE_PORTAL_URL:
        return ""
    path = reverse("alerts:detail", kwargs={"project": incident.project.slug, "uid": incident.uid})
    return f"{settings.CUBE_PORTAL_URL.rstrip('/')}{path}"


def address_problem(problem: str) -> InvalidInput:
    """What `notifiers.addresses.problem_of` found, told to a person."""
    words = {
        "syntax": _("Write an http:// or https:// address, of at most 2,000 characters."),
        "credentials": _("An address holds no user name or password here. Sign with a secret instead."),
        "private": _("This leads to a private network. Use a public address, or ask an administrator to allow it."),
    }
    return InvalidInput({"url": words[problem]})
