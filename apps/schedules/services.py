"""Writes on schedules: one verb, one transaction. Slots have theirs in `slots.py`, backfills in `backfills.py`.

A change of the timetable counts from the save on: what was due before is made by the old one first.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.core.errors import InvalidInput, InvalidTransition
from apps.core.events import publish
from apps.core.validation import clean
from apps.jobtemplates.schema import clean_params
from apps.pipelines.models import Pipeline
from apps.pipelines.selectors import find_version
from apps.projects.models import Project

from . import deadlines, engine, planning, selectors
from .choices import Kind, SlotStatus, Why
from .clock import database_now
from .events import ScheduleChanged
from .models import Schedule, Slot, timetable_of
from .starting import advance
from .timetables.intervals import LONGEST_SECONDS, SHORTEST_SECONDS
from .timetables.rules import zone_named

TIMETABLE = frozenset({"kind", "cron", "interval_seconds", "zone", "fold", "start_at", "end_at", "jitter_seconds"})
WRITABLE = TIMETABLE | {
    "name", "pipeline", "pipeline_version", "params", "priority", "catch_up", "catch_up_limit",
    "catch_up_window_seconds", "max_active_runs", "overlap", "depends_on_past", "past_allows_missed",
    "past_allows_stopped", "wait_seconds", "keep_newest", "run_retries", "run_retry_delay_seconds",
    "deadline_seconds", "pause_after_failures",
}  # fmt: skip
FOLLOWED_MOST = 20
GAP_RECORDED = planning.ENOUGH


def create_schedule(
    *,
    project: Project,
    after: Collection[Pipeline] = (),
    waits_for: Collection[Pipeline] = (),
    actor: Any,
    **asked: Any,
) -> Schedule:
    """Make a schedule; its first time is the first after this moment. Raises InvalidInput naming every bad field."""
    schedule = Schedule(project=project, created_by=actor, **_known(asked))
    check(schedule, after=after, waits_for=waits_for)
    with transaction.atomic():
        now = database_now()
        schedule.anchor_at = now
        _set_next(schedule, now)
        _save_named(schedule)
        schedule.after.set(after)
        schedule.waits_for.set(waits_for)
        _tell(schedule, "schedule.create", actor, asked)
    return schedule


def edit_schedule(
    *,
    schedule: Schedule,
    after: Collection[Pipeline] | None = None,
    waits_for: Collection[Pipeline] | None = None,
    actor: Any,
    **asked: Any,
) -> Schedule:
    """Change what is given. Raises InvalidInput naming every bad field; then nothing has changed."""
    with transaction.atomic():
        schedule = _locked(schedule)
        changed = {name for name, value in _known(asked).items() if getattr(schedule, name) != value}
        now = database_now()
        if changed & TIMETABLE:
            _settle(schedule, now)
        for name in changed:
            setattr(schedule, name, asked[name])
        check(
            schedule,
            after=schedule.after.all() if after is None else after,
            waits_for=schedule.waits_for.all() if waits_for is None else waits_for,
        )
        if changed & TIMETABLE:
            schedule.anchor_at = now
            _set_next(schedule, now)
        schedule.version += 1
        _save_named(schedule)
        if "deadline_seconds" in changed:
            deadlines.move(schedule)
        if after is not None:
            schedule.after.set(after)
        if waits_for is not None:
            schedule.waits_for.set(waits_for)
        _tell(schedule, "schedule.edit", actor, {name: asked[name] for name in changed})
        advance(selectors.locked([schedule.pk], wait=True), now=now)
    return schedule


@transaction.atomic
def pause_schedule(*, schedule: Schedule, note: str = "", actor: Any) -> Schedule:
    """Start nothing from now on; runs that are under way go on. Pausing twice changes the note."""
    schedule = _locked(schedule)
    now = database_now()
    if not schedule.is_paused:
        _fire_due(schedule, now)
        schedule.is_paused, schedule.paused_at = True, now
    schedule.paused_by, schedule.paused_note = actor, note.strip()[:300]
    schedule.version += 1
    schedule.save()
    _tell(schedule, "schedule.pause", actor, {"note": schedule.paused_note})
    advance(selectors.locked([schedule.pk], wait=True), now=now)
    return schedule


@transaction.atomic
def resume_schedule(*, schedule: Schedule, actor: Any) -> Schedule:
    """Go on. What came meanwhile is caught up, or left out, as the schedule says."""
    schedule = _locked(schedule)
    if not schedule.is_paused:
        return schedule
    schedule.is_paused, schedule.paused_at, schedule.paused_by, schedule.paused_note = False, None, None, ""
    schedule.failures_in_a_row = 0
    schedule.version += 1
    schedule.save()
    _tell(schedule, "schedule.resume", actor, {})
    advance(selectors.locked([schedule.pk], wait=True), now=database_now())
    return schedule


@transaction.atomic
def delete_schedule(*, schedule: Schedule, actor: Any) -> None:
    """Remove a schedule with its slots and backfills; its runs stay. Raises InvalidTransition while one is active."""
    schedule = _locked(schedule)
    if Slot.objects.filter(schedule=schedule, status=SlotStatus.RUNNING).exists():
        raise InvalidTransition(
            _("%(name)s has runs under way. Pause it, stop them or let them end, then delete it.")
            % {"name": schedule.name}
        )
    _tell(schedule, "schedule.delete", actor, {})
    schedule.delete()


# -- checking ---------------------------------------------------------------------------------------------------------
def check(schedule: Schedule, *, after: Collection[Pipeline], waits_for: Collection[Pipeline]) -> None:
    """Raises InvalidInput naming every bad field of a schedule that is to be saved."""
    errors: dict[str, str | list[str]] = {}
    for one in (_check_columns, _check_timetable, _check_pipeline):
        try:
            one(schedule)
        except InvalidInput as refusal:
            errors = {**refusal.fields, **errors}
    if schedule.start_at and schedule.end_at and schedule.end_at <= schedule.start_at:
        errors["end_at"] = _("The end must be later than the start.")
    for name, given in (("after", after), ("waits_for", waits_for)):
        if problem := _problem_of(schedule, given):
            errors[name] = problem
    if schedule.kind == Kind.AFTER and not after:
        errors["after"] = _("Choose the pipelines it runs after.")
    if schedule.kind != Kind.AFTER and after:
        errors["after"] = _("Only a schedule of the kind 'after' follows pipelines. Use waits_for to wait for them.")
    if errors:
        raise InvalidInput(errors)


def _check_columns(schedule: Schedule) -> None:
    written = WRITABLE | {"project"}  # with the project, the name's being free is checked too
    clean(schedule, exclude={f.name for f in Schedule._meta.fields if f.name not in written})


def _check_timetable(schedule: Schedule) -> None:
    zone_named(schedule.zone)
    if schedule.kind == Kind.CRON and not schedule.cron.strip():
        raise InvalidInput({"cron": _("Write a cron line, such as 30 2 * * MON-FRI or @daily.")})
    if schedule.kind == Kind.INTERVAL:
        seconds = schedule.interval_seconds
        if seconds is None or not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
            text = _("Must be from %(low)d seconds to 366 days.") % {"low": SHORTEST_SECONDS}
            raise InvalidInput({"interval_seconds": text})
    timetable_of(
        schedule.kind, schedule.cron, schedule.zone, schedule.fold, schedule.interval_seconds, schedule.anchor_at
    )


def _check_pipeline(schedule: Schedule) -> None:
    """Raises InvalidInput where no run could be started now."""
    pipeline, errors = schedule.pipeline, {}
    version = schedule.pipeline_version or find_version(pipeline)
    if pipeline.project_id != schedule.project_id:
        errors["pipeline"] = _("There is no such pipeline in this project.")
    elif pipeline.is_archived:
        errors["pipeline"] = _("%(name)s is archived. Restore it first.") % {"name": pipeline.name}
    elif version is None:
        errors["pipeline"] = _("%(name)s has no version yet. Save one first.") % {"name": pipeline.name}
    elif version.pipeline_id != pipeline.pk:
        errors["pipeline_version"] = _("This version belongs to another pipeline.")
    if errors:
        raise InvalidInput(errors)
    if not isinstance(schedule.params, Mapping):
        raise InvalidInput({"params": _("Must be an object of parameters and their values.")})
    clean_params(version.schema, dict(schedule.params))  # type: ignore[union-attr]


def _problem_of(schedule: Schedule, given: Collection[Pipeline]) -> str:
    if len(given) > FOLLOWED_MOST:
        return _("At most %(n)d pipelines.") % {"n": FOLLOWED_MOST}
    if any(pipeline.project_id != schedule.project_id for pipeline in given):
        return _("There is no such pipeline in this project.")
    if any(pipeline.pk == schedule.pipeline_id for pipeline in given):
        return _("A schedule cannot wait for the pipeline it runs. To wait for its own past, use depends_on_past.")
    return ""


# -- the pieces -------------------------------------------------------------------------------------------------------
def _known(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    if unknown := set(asked) - WRITABLE:
        raise TypeError(f"no such fields of a schedule: {sorted(unknown)}")
    return asked


def _locked(schedule: Schedule) -> Schedule:
    """Raises Schedule.DoesNotExist: it was deleted meanwhile."""
    rows = selectors.locked([schedule.pk], wait=True)
    if not rows:
        raise Schedule.DoesNotExist
    return rows[0]


def _settle(schedule: Schedule, now: datetime) -> None:
    """Before a timetable changes: make what it has due, so that no change near a full minute swallows a time."""
    if not schedule.is_paused:
        _fire_due(schedule, now)
        return
    timetable = schedule.timetable
    if timetable is None or schedule.next_logical_at is None:
        return
    plan = planning.plan(schedule, now=now)
    slots = [engine.new_slot(schedule, at, now=now, why_not=Why.EDITED) for at in list(plan.verdicts)[-GAP_RECORDED:]]
    there = selectors.existing(slots)
    advance([schedule], fresh=[s for s in slots if (s.schedule_id, s.logical_at) not in there], now=now)


def _fire_due(schedule: Schedule, now: datetime) -> None:
    if schedule.next_fire_at is not None and schedule.next_fire_at <= now:
        engine.fire([schedule], {schedule.pk: planning.plan(schedule, now=now)}, now=now)


def _set_next(schedule: Schedule, now: datetime) -> None:
    coming = planning.next_of(schedule, after=now)
    schedule.last_logical_at = None
    schedule.next_logical_at, schedule.next_fire_at = coming.logical_at, coming.fire_at


def _save_named(schedule: Schedule) -> None:
    try:
        with transaction.atomic():
            schedule.save()
    except IntegrityError:  # Somebody took the name between the check and the save.
        raise InvalidInput({"name": _("A schedule of this project has this name. Choose another.")}) from None


def _tell(schedule: Schedule, action: str, actor: Any, detail: Mapping[str, Any]) -> None:
    told = {"uid": str(schedule.uid), **{name: str(value)[:200] for name, value in detail.items()}}
    audit.record(actor=actor, action=action, target=schedule, project=schedule.project.slug, detail=told)
    publish(ScheduleChanged(schedule_id=schedule.pk, schedule_uid=str(schedule.uid), project_id=schedule.project_id))
