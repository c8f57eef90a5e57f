"""Compares what is wrong with the incidents there are: opens, counts, closes. A look may come twice, late or never.

Looks of one project take the locks of its rules in one order, so that two of them cannot open the same incident.
"""

from collections.abc import Collection
from datetime import datetime
from functools import partial

import structlog
from django.db import transaction
from django.utils import timezone

from . import outbox, selectors
from .choices import Change, Condition
from .models import CHANNELS, Incident, Rule
from .selectors import Clear, Subject, Trouble

MESSAGE_LENGTH = 500
Key = tuple[int, str, str]  # rule, condition, subject
logger = structlog.get_logger(__name__)


@transaction.atomic
def look(*, project_id: int, schedule_ids: Collection[int] = (), pipeline_ids: Collection[int] = ()) -> None:
    """Bring the incidents about these schedules and pipelines up to date."""
    rules = list(
        Rule.objects.select_for_update(of=("self",))
        .filter(project_id=project_id, is_enabled=True)
        .select_related("project")
        .prefetch_related(CHANNELS)
        .order_by("pk")
    )
    if not rules:
        return
    found = selectors.subjects(
        project_id=project_id, schedule_ids=schedule_ids, pipeline_ids=pipeline_ids, now=timezone.now()
    )
    words = [subject.word for subject in found]
    incidents = _open_incidents(rules, words)
    last = selectors.last_seen(rules, words)
    for rule in rules:
        for subject in found:
            _compare(rule, subject, incidents, last)


def _open_incidents(rules: list[Rule], words: list[str]) -> dict[Key, Incident]:
    rows = Incident.objects.open().filter(rule__in=rules, subject__in=words)
    by_key = {rule.pk: rule for rule in rules}
    found = {}
    for incident in rows.select_related("pipeline", "schedule", "run"):
        incident.rule = by_key[incident.rule_id]  # with its channels, read once
        incident.project = incident.rule.project
        found[incident.rule_id, incident.condition, incident.subject] = incident
    return found


def _compare(rule: Rule, subject: Subject, incidents: dict[Key, Incident], last: dict[Key, datetime]) -> None:
    if not rule.covers(pipeline_id=subject.pipeline_id, schedule_id=subject.schedule_id):
        return
    for condition, state in subject.states.items():
        key = (rule.pk, str(condition), subject.word)
        incident = incidents.get(key)
        match state:
            case Trouble() if incident is not None:
                _count(incident, state)
            case Trouble() if condition in rule.conditions and state.at > max(
                rule.since_at, last.get(key, rule.since_at)
            ):
                _open(rule, subject, condition, state)
            case Clear() if incident is not None and state.at > incident.last_at:
                _recover(incident, state.at)


def _open(rule: Rule, subject: Subject, condition: str, trouble: Trouble) -> None:
    incident = Incident.objects.create(
        project=rule.project,
        rule=rule,
        condition=condition,
        pipeline_id=subject.pipeline_id,
        schedule_id=subject.schedule_id,
        subject=subject.word,
        run_id=trouble.run_id,
        slot_id=trouble.slot_id,
        first_run_id=trouble.run_id,
        message=trouble.message[:MESSAGE_LENGTH],
        opened_at=trouble.at,
        last_at=trouble.at,
    )
    outbox.tell(incident, Change.OPENED)


def _count(incident: Incident, trouble: Trouble) -> None:
    """The same again: noted, not told. Failures are counted by rows, the rest by how often a look saw another."""
    if trouble.at <= incident.last_at:
        return
    exact = selectors.failures_since(incident) if incident.condition == Condition.FAILED else 0
    incident.count = max(exact, incident.count + 1)
    incident.last_at = trouble.at
    incident.run_id, incident.slot_id = trouble.run_id, trouble.slot_id
    incident.message = trouble.message[:MESSAGE_LENGTH]
    incident.save()


def _recover(incident: Incident, at: datetime) -> None:
    incident.closed_at = at
    incident.save()
    if incident.told_at is not None and incident.rule.tells_recovery:
        outbox.tell(incident, Change.RESOLVED)


# -- what ends by itself ----------------------------------------------------------------------------------------------
@transaction.atomic
def end_snooze_of_incident(*, incident_id: int) -> None:
    """Its snooze is over: told again once, if it is still open. Looks again at the clock, under the lock."""
    incident = locked_incident(incident_id)
    if incident is None or incident.snoozed_until is None or incident.is_snoozed:
        return
    incident.silence(until=None, by=None, note="")
    incident.save()
    remind(incident)


@transaction.atomic
def end_snooze_of_rule(*, rule_id: int) -> None:
    """Its snooze is over: what is still open, and not snoozed by itself, is told again once."""
    rule = Rule.objects.select_for_update(of=("self",)).filter(pk=rule_id).first()
    if rule is None or rule.snoozed_until is None or rule.is_snoozed:
        return
    rule.silence(until=None, by=None, note="")
    rule.save()
    remind_of(rule)


def remind_of(rule: Rule) -> None:
    for incident in Incident.objects.open().filter(rule=rule).with_channels().order_by("pk"):
        remind(incident)


def remind(incident: Incident) -> None:
    """Told as new where nobody was told before."""
    if incident.is_open and incident.rule.is_enabled:
        outbox.tell(incident, Change.OPENED if incident.told_at is None else Change.REMINDED)


def locked_incident(incident_id: int) -> Incident | None:
    """Under its rule's lock, as every change of an incident is."""
    rule_id = Incident.objects.filter(pk=incident_id).values_list("rule_id", flat=True).first()
    if rule_id is None or not Rule.objects.select_for_update(of=("self",)).filter(pk=rule_id).exists():
        return None
    return Incident.objects.with_channels().filter(pk=incident_id).first()


def sweep() -> None:
    """Whatever message was lost: looks at all that may be wrong, project by project, and at snoozes that are over."""
    now = timezone.now()
    rules, incidents = selectors.snoozes_over(now)
    for rule_id in rules:
        _alone(partial(end_snooze_of_rule, rule_id=rule_id))
    for incident_id in incidents:
        _alone(partial(end_snooze_of_incident, incident_id=incident_id))
    for project_id in selectors.watched_projects():
        _alone(partial(_look_around, project_id, now))


def _look_around(project_id: int, now: datetime) -> None:
    schedules, pipelines = selectors.suspects(project_id, now=now)
    if schedules or pipelines:
        look(project_id=project_id, schedule_ids=schedules, pipeline_ids=pipelines)


def _alone(act: partial[None]) -> None:
    """One project's trouble stays its own."""
    try:
        act()
    except Exception:
        logger.exception("a sweep of alerts failed", act=act.func.__name__, **act.keywords)
