"""Backfills: what people ask of a schedule's past. A preview says what would become of each time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.core.errors import InvalidInput, InvalidTransition
from apps.core.validation import clean
from apps.jobtemplates.schema import clean_params
from apps.pipelines.selectors import find_version

from . import engine, selectors
from .choices import BackfillStatus, Kind, Order, Past, Reprocess, SlotStatus, Why
from .clock import database_now
from .models import Backfill, Schedule, Slot
from .planning import SECOND
from .starting import advance
from .timetables import occurrences

MOST = 5000  # times of one backfill
MACHINE_WRITTEN = {"uid", "project", "schedule", "status", "slot_count", "left_out", "created_by", "finished_at"}


@dataclass
class Preview:
    """What a backfill would do: new slots, slots that run again, and times that are left as they are, with why."""

    new: list[datetime] = field(default_factory=list)
    again: list[Slot] = field(default_factory=list)
    left: list[tuple[datetime, str]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.new) + len(self.again)


def preview(
    *,
    schedule: Schedule,
    from_at: datetime,
    to_at: datetime,
    reprocess: str = Reprocess.NONE,
    now: datetime | None = None,
) -> Preview:
    """What would become of every time from `from_at` to `to_at`, both included. Saves nothing. Raises InvalidInput."""
    times = _times(schedule, from_at, to_at, now or database_now())
    slots = {
        slot.logical_at: slot for slot in Slot.objects.filter(schedule=schedule, logical_at__range=(from_at, to_at))
    }
    found = Preview()
    for at in times:
        slot = slots.get(at)
        if slot is None:
            found.new.append(at)
        elif why := _why_left(slot, reprocess):
            found.left.append((at, why))
        else:
            found.again.append(slot)
    return found


@transaction.atomic
def start_backfill(
    *,
    schedule: Schedule,
    from_at: datetime,
    to_at: datetime,
    order: str = Order.UP,
    reprocess: str = Reprocess.NONE,
    max_active_runs: int = 2,
    params: Mapping[str, Any] | None = None,
    actor: Any,
) -> Backfill:
    """Make the slots of a range wait for this backfill. Raises InvalidInput naming every bad field."""
    schedule = selectors.locked([schedule.pk], wait=True)[0]
    now = database_now()
    backfill = Backfill(
        project=schedule.project, schedule=schedule, from_at=from_at, to_at=to_at, order=order, reprocess=reprocess,
        max_active_runs=max_active_runs, params=dict(params or {}), created_by=actor,
    )  # fmt: skip
    clean(backfill, exclude=MACHINE_WRITTEN)
    _check(backfill)
    found = preview(schedule=schedule, from_at=from_at, to_at=to_at, reprocess=reprocess, now=now)
    backfill.slot_count = found.count
    backfill.left_out = [[at.isoformat(), why] for at, why in found.left]
    if not found.count:
        backfill.status, backfill.finished_at = BackfillStatus.FINISHED, now
    backfill.save()
    _take(backfill, found, now)
    _audit(backfill, "backfill.start", actor, count=found.count)
    advance([schedule], now=now)
    return backfill


def pause_backfill(*, backfill: Backfill, actor: Any) -> Backfill:
    """Start none of its slots for now. Raises InvalidTransition when it has ended."""
    return _move(backfill, BackfillStatus.PAUSED, "backfill.pause", actor)


def resume_backfill(*, backfill: Backfill, actor: Any) -> Backfill:
    return _move(backfill, BackfillStatus.RUNNING, "backfill.resume", actor)


def cancel_backfill(*, backfill: Backfill, actor: Any) -> Backfill:
    """Skip what has not started; what runs goes on to its end. Raises InvalidTransition when it has ended."""
    return _move(backfill, BackfillStatus.CANCELLED, "backfill.cancel", actor)


# -- the pieces -------------------------------------------------------------------------------------------------------
def _times(schedule: Schedule, from_at: datetime, to_at: datetime, now: datetime) -> list[datetime]:
    if to_at < from_at:
        raise InvalidInput({"to_at": _("The end must not be before the start.")})
    if to_at > now:
        raise InvalidInput({"to_at": _("A backfill is of the past: the end must not be later than now.")})
    timetable = schedule.timetable
    if timetable is None:
        raise InvalidInput({"from_at": _("A schedule that follows pipelines has no times of its own to fill.")})
    times: list[datetime] = []
    for at in occurrences(timetable, after=from_at - SECOND, until=to_at):
        times.append(at)
        if len(times) > MOST:
            text = _("More than %(n)d times. Choose a shorter range, and start another one after it.")
            raise InvalidInput({"from_at": text % {"n": MOST}})
    return times


def _why_left(slot: Slot, reprocess: str) -> str:
    """Why a time that has a slot is left as it is; empty when it runs again."""
    if not slot.is_finished:
        return _("It is %(status)s.") % {"status": slot.get_status_display().lower()}
    if reprocess == Reprocess.ALL or (reprocess == Reprocess.FAILED and slot.status != SlotStatus.SUCCEEDED):
        return ""
    return _("It was there before: %(status)s.") % {"status": slot.get_status_display().lower()}


def _check(backfill: Backfill) -> None:
    schedule = backfill.schedule
    if backfill.order == Order.DOWN and schedule.depends_on_past != Past.OFF:
        raise InvalidInput({"order": _("This schedule depends on its past, so it can only be filled oldest first.")})
    if schedule.kind == Kind.AFTER:
        raise InvalidInput({"from_at": _("A schedule that follows pipelines has no times of its own to fill.")})
    version = schedule.pipeline_version or find_version(schedule.pipeline)
    if version is None:
        raise InvalidInput({"pipeline": _("The pipeline has no version yet. Save one first.")})
    clean_params(version.schema, {**schedule.params, **backfill.params})


def _take(backfill: Backfill, found: Preview, now: datetime) -> None:
    before = None
    fresh = []
    for at in found.new:
        slot = engine.new_slot(backfill.schedule, at, now=now, before=before)
        slot.backfill, slot.late_at, before = backfill, None, at
        fresh.append(slot)
    Slot.objects.bulk_create(fresh, batch_size=500)
    Slot.objects.filter(pk__in=[slot.pk for slot in found.again]).update(
        status=SlotStatus.WAITING, reason=Why.NONE, message="", reason_at=now, check_at=now, due_at=now, run=None,
        failures=0, is_ignored=False, backfill=backfill, finished_at=None, late_at=None, updated_at=now,
    )  # fmt: skip


@transaction.atomic
def _move(backfill: Backfill, status: BackfillStatus, action: str, actor: Any) -> Backfill:
    schedule = selectors.locked([backfill.schedule_id], wait=True)[0]
    backfill = Backfill.objects.get(pk=backfill.pk)
    backfill.schedule = schedule
    if backfill.is_finished:
        text = _("This backfill has ended already: %(status)s.")
        raise InvalidTransition(text % {"status": backfill.get_status_display().lower()})
    now = database_now()
    backfill.status = status
    backfill.finished_at = now if status == BackfillStatus.CANCELLED else None
    backfill.save(update_fields=["status", "finished_at", "updated_at"])
    _audit(backfill, action, actor)
    advance([schedule], now=now)
    return backfill


def _audit(backfill: Backfill, action: str, actor: Any, **detail: Any) -> None:
    told = {"uid": str(backfill.uid), "schedule": str(backfill.schedule.uid), **detail}
    audit.record(actor=actor, action=action, target=backfill, project=backfill.project.slug, detail=told)
