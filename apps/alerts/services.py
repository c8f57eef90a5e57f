"""What people do: rules and channels, snoozing, closing. One verb, one transaction."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.core.errors import InvalidInput, InvalidTransition
from apps.core.events import publish
from apps.projects.models import Project

from . import checking, outbox, watching
from .choices import Change
from .events import AlertsChanged
from .models import NOTE_LENGTH, Channel, Delivery, Incident, Rule

CHANNEL_FIELDS = frozenset({"name", "addresses", "url", "signing_secret", "is_enabled"})
RULE_FIELDS = frozenset(
    {"name", "pipeline", "schedule", "on_failure", "on_lateness", "on_pause", "tells_recovery", "is_enabled"}
)
LONGEST_SNOOZE = timedelta(days=30)
TESTS_A_MINUTE = 3
NOUNS = {Rule: "alert_rule", Incident: "incident"}  # in the audit trail


# -- channels ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def create_channel(*, project: Project, kind: str, actor: Any, **asked: Any) -> Channel:
    """Raises InvalidInput naming every bad field."""
    channel = Channel(project=project, kind=kind, created_by=actor, **_known(asked, CHANNEL_FIELDS))
    if Channel.objects.filter(project=project).count() >= checking.MOST_CHANNELS:
        raise InvalidInput({"name": _("A project has at most %(n)d channels.") % {"n": checking.MOST_CHANNELS}})
    checking.check_channel(channel)
    _save_named(channel)
    _record("alert_channel.create", channel, actor, {"kind": kind, "to": channel.shown})
    return channel


@transaction.atomic
def edit_channel(*, channel: Channel, actor: Any, **asked: Any) -> Channel:
    """Change what is given; a secret that is not given stays. Raises InvalidInput naming every bad field."""
    channel = Channel.objects.select_for_update(of=("self",)).select_related("project").get(pk=channel.pk)
    for name, value in _known(asked, CHANNEL_FIELDS).items():
        setattr(channel, name, value)
    checking.check_channel(channel)
    channel.problem = ""
    _save_named(channel)
    _record("alert_channel.edit", channel, actor, {"changed": sorted(asked), "to": channel.shown})
    return channel


@transaction.atomic
def delete_channel(*, channel: Channel, actor: Any) -> None:
    """Remove a channel with its messages; rules that used it stay."""
    _record("alert_channel.delete", channel, actor, {"to": channel.shown})
    channel.delete()


@transaction.atomic
def send_test(*, channel: Channel, actor: Any) -> Delivery:
    """Queue a test message. Raises InvalidTransition while the channel is off, or after a few in a minute."""
    channel = (
        Channel.objects.without_secrets().select_for_update(of=("self",)).select_related("project").get(pk=channel.pk)
    )
    if not channel.is_enabled:
        raise InvalidTransition(_("The channel is switched off. Switch it on, then test it."))
    recent = Delivery.objects.filter(channel=channel, change=Change.TEST)
    if recent.filter(created_at__gt=timezone.now() - timedelta(minutes=1)).count() >= TESTS_A_MINUTE:
        raise InvalidTransition(_("That were enough tests for a minute. Try again later."))
    _record("alert_channel.test", channel, actor, {"to": channel.shown})
    return outbox.queue_test(channel)


# -- rules ------------------------------------------------------------------------------------------------------------
@transaction.atomic
def create_rule(*, project: Project, channels: Collection[Channel] = (), actor: Any, **asked: Any) -> Rule:
    """It tells what happens from now on. Raises InvalidInput naming every bad field."""
    rule = Rule(project=project, created_by=actor, **_known(asked, RULE_FIELDS))
    if Rule.objects.filter(project=project).count() >= checking.MOST_RULES:
        raise InvalidInput({"name": _("A project has at most %(n)d rules.") % {"n": checking.MOST_RULES}})
    checking.check_rule(rule, channels)
    _save_named(rule)
    rule.channels.set(channels)
    _record("alert_rule.create", rule, actor, asked)
    return rule


@transaction.atomic
def edit_rule(*, rule: Rule, channels: Collection[Channel] | None = None, actor: Any, **asked: Any) -> Rule:
    """Change what is given. Incidents it no longer watches are closed, and nobody is told.

    Raises InvalidInput naming every bad field; then nothing has changed.
    """
    rule = _locked_rule(rule)
    was_enabled = rule.is_enabled
    for name, value in _known(asked, RULE_FIELDS).items():
        setattr(rule, name, value)
    checking.check_rule(rule, list(rule.channels.all()) if channels is None else channels)
    if rule.is_enabled and not was_enabled:
        rule.since_at = timezone.now()
    _save_named(rule)
    if channels is not None:
        rule.channels.set(channels)
    for incident in Incident.objects.open().filter(rule=rule):
        if not _watches(rule, incident):
            _close(incident, actor, _("The rule no longer watches it."))
    _record("alert_rule.edit", rule, actor, asked)
    return rule


def _watches(rule: Rule, incident: Incident) -> bool:
    covered = rule.covers(pipeline_id=incident.pipeline_id, schedule_id=incident.schedule_id)
    return rule.is_enabled and covered and incident.condition in rule.conditions


@transaction.atomic
def delete_rule(*, rule: Rule, actor: Any) -> None:
    """Remove a rule with its incidents."""
    _record("alert_rule.delete", rule, actor, {})
    rule.delete()


# -- on call ----------------------------------------------------------------------------------------------------------
@transaction.atomic
def snooze_rule(*, rule: Rule, until: datetime, note: str = "", actor: Any) -> Rule:
    """Tell nothing of this rule until then. Raises InvalidInput for a moment that is past or too far away."""
    rule = _locked_rule(rule)
    _snooze(rule, until=until, note=note, actor=actor)
    outbox.drop(Q(incident__rule=rule), why=_("The rule was snoozed."))
    return rule


@transaction.atomic
def wake_rule(*, rule: Rule, actor: Any) -> Rule:
    """End a snooze early: what is still open is told again."""
    rule = _locked_rule(rule)
    _wake(rule, actor)
    return rule


@transaction.atomic
def snooze_incident(*, incident: Incident, until: datetime, note: str = "", actor: Any) -> Incident:
    """Acknowledge it: nothing more is told of it until then.

    Raises InvalidInput for a moment that is past or too far away, InvalidTransition when it is over.
    """
    incident = _locked_open(incident)
    _snooze(incident, until=until, note=note, actor=actor)
    outbox.drop(Q(incident=incident), why=_("The incident was snoozed."))
    return incident


@transaction.atomic
def wake_incident(*, incident: Incident, actor: Any) -> Incident:
    """End a snooze early: it is told again. Raises InvalidTransition when it is over."""
    incident = _locked_open(incident)
    _wake(incident, actor)
    return incident


@transaction.atomic
def close_incident(*, incident: Incident, note: str = "", actor: Any) -> Incident:
    """A person says that it is over: nobody is told, and only something newer opens another.

    Raises InvalidTransition when it was over already.
    """
    incident = _locked_open(incident)
    _close(incident, actor, note.strip())
    outbox.drop(Q(incident=incident), why=_("The incident was closed."))
    _record("incident.close", incident, actor, {"note": incident.close_note})
    return incident


# -- the pieces -------------------------------------------------------------------------------------------------------
def _snooze(row: Rule | Incident, *, until: datetime, note: str, actor: Any) -> None:
    now = timezone.now()
    if not now < until <= now + LONGEST_SNOOZE:
        told = _("Choose a moment in the future, at most %(n)d days away.") % {"n": LONGEST_SNOOZE.days}
        raise InvalidInput({"until": told})
    row.silence(until=until, by=actor, note=note.strip()[:NOTE_LENGTH])
    row.save()
    _record(f"{NOUNS[type(row)]}.snooze", row, actor, {"until": until.isoformat(), "note": row.snooze_note})


def _wake(row: Rule | Incident, actor: Any) -> None:
    if row.snoozed_until is not None:
        _record(f"{NOUNS[type(row)]}.wake", row, actor, {})
        watching.wake(row)


def _close(incident: Incident, actor: Any, note: str) -> None:
    incident.closed_at, incident.closed_by, incident.close_note = timezone.now(), actor, note[:NOTE_LENGTH]
    incident.save()


def _locked_rule(rule: Rule) -> Rule:
    """Raises Rule.DoesNotExist: it was deleted meanwhile."""
    return Rule.objects.select_for_update(of=("self",)).select_related("project").get(pk=rule.pk)


def _locked_open(incident: Incident) -> Incident:
    found = watching.locked_incident(incident.pk)
    if found is None:
        raise Incident.DoesNotExist
    if not found.is_open:
        raise InvalidTransition(_("This incident is over already."))
    return found


def _known(asked: Mapping[str, Any], fields: frozenset[str]) -> Mapping[str, Any]:
    if unknown := set(asked) - fields:
        raise TypeError(f"no such fields: {sorted(unknown)}")
    return asked


def _save_named(row: Channel | Rule) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:  # Somebody took the name between the check and the save.
        raise InvalidInput({"name": _("This name is taken in this project. Choose another.")}) from None


def _record(action: str, target: Any, actor: Any, detail: Mapping[str, Any]) -> None:
    """Write down who did what, and have open pages look again."""
    publish(AlertsChanged(project_id=target.project_id))
    told = {"uid": str(target.uid), **{name: str(value)[:200] for name, value in detail.items()}}
    audit.record(actor=actor, action=action, target=target, project=target.project.slug, detail=told)
