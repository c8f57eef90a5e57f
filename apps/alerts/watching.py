"""Compares what is wrong with the incidents there are: opens, counts, closes. A look may come twice, late or never.

Looks of one project take the locks of its rules in one order, so that two of them cannot open the same incident.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog
from django.db import transaction
from django.utils import timezone

from apps.core.events import publish
from apps.schedules.clock import database_now

from . import outbox, selectors
from .choices import Change, Condition
from .events import AlertsChanged
from .models import CHANNELS, Incident, Rule
from .selectors import Clear, Subject, Trouble

MESSAGE_LENGTH = 500
Key = tuple[int, str, str]  # rule, condition, subject
logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Known:
    """What there is of the incidents about some subjects."""

    incidents: dict[Key, Incident]  # the open ones
    last: dict[Key, datetime]  # when each trouble that had an incident was last seen
    kept_since: datetime  # what is older is forgotten, so that it would look new

    def is_news(self, key: Key, rule: Rule, trouble: Trouble) -> bool:
        """Whether nobody knew of it, and it began while the rule was there."""
        return trouble.at > max(rule.since_at, self.kept_since, self.last.get(key, rule.since_at))


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
    now = database_now()  # by which deadlines are announced
    found = selectors.subjects(project_id=project_id, schedule_ids=schedule_ids, pipeline_ids=pipeline_ids, now=now)
    words = [subject.word for subject in found]
    known = Known(_open_incidents(rules, words), selectors.last_seen(rules, words), selectors.kept_since(now))
    changed = [_compare(rule, subject, known) for rule in rules for subject in found]
    if any(changed):
        publish(AlertsChanged(project_id=project_id))


def _open_incidents(rules: list[Rule], words: list[str]) -> dict[Key, Incident]:
    rows = Incident.objects.open().filter(rule__in=rules, subject__in=words)
    by_key = {rule.pk: rule for rule in rules}
    found = {}
    for incident in rows.select_related("pipeline", "schedule", "run"):
        incident.rule = by_key[incident.rule_id]  # with its channels, read once
        incident.project = incident.rule.project
        found[incident.rule_id, incident.condition, incident.subject] = incident
    return found


def _compare(rule: Rule, subject: Subject, known: Known) -> bool:
    """Returns whether an incident changed."""
    if not rule.covers(pipeline_id=subject.pipeline_id, schedule_id=subject.schedule_id):
        return False
    is_changed = False
    for condition, state in subject.states.items():
        key = (rule.pk, str(condition), subject.word)
        incident = known.incidents.get(key)
        match state:
            case Trouble() if incident is not None and state.at > incident.last_at:
                _count(incident, state)
            case Trouble() if incident is None and condition in rule.conditions and known.is_news(key, rule, state):
                _open(rule, subject, condition, state)
            case Clear() if incident is not None and state.at > incident.last_at:
                _recover(incident, state.at)
            case _:
                continue
        is_changed = True
    return is_changed


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
    _end_snooze(locked_incident(incident_id))


@transaction.atomic
def end_snooze_of_rule(*, rule_id: int) -> None:
    _end_snooze(Rule.objects.select_for_update(of=("self",)).filter(pk=rule_id).first())


def _end_snooze(row: Rule | Incident | None) -> None:
    """Its time is up. Asked again under the lock: somebody may have ended it, or snoozed it for longer."""
    if row is not None and row.snoozed_until is not None and not row.is_snoozed:
        wake(row)
        publish(AlertsChanged(project_id=row.project_id))


def wake(row: Rule | Incident) -> None:
    """End a snooze: what is still open of it, and not snoozed otherwise, is told again once. The rule is locked."""
    row.silence(until=None, by=None, note="")
    row.save()
    for incident in _woken(row):
        _remind(incident)


def _woken(row: Rule | Incident) -> Iterable[Incident]:
    if isinstance(row, Incident):
        return [row]
    return Incident.objects.open().filter(rule=row).with_channels().order_by("pk")


def _remind(incident: Incident) -> None:
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
    rules, incidents = selectors.snoozes_over(timezone.now())
    for rule_id in rules:
        _alone(partial(end_snooze_of_rule, rule_id=rule_id))
    for incident_id in incidents:
        _alone(partial(end_snooze_of_incident, incident_id=incident_id))
    for project_id in selectors.watched_projects():
        _alone(partial(_look_around, project_id))


def _look_around(project_id: int) -> None:
    schedules, pipelines = selectors.suspects(project_id, now=database_now())
    if schedules or pipelines:
        look(project_id=project_id, schedule_ids=schedules, pipeline_ids=pipelines)


def _alone(act: partial[None]) -> None:
    """One project's trouble stays its own."""
    try:
        act()
    except Exception:
        logger.exception("a sweep of alerts failed", act=act.func.__name__, **act.keywords)
