"""What people do to one slot. Every verb locks the schedule first, as the engine does, and is audited."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.core.errors import InvalidInput, InvalidTransition
from apps.pipelines import steering

from . import engine, planning, selectors
from .choices import RAN, Mark, SlotStatus, Why
from .clock import database_now
from .models import Schedule, Slot
from .starting import advance, end


@transaction.atomic
def skip_slot(*, slot: Slot, note: str = "", actor: Any) -> Slot:
    """Leave a waiting time out. Those after it go on as if it had succeeded. Raises InvalidTransition otherwise."""
    slot, schedule, now = _locked(slot)
    _require(slot, {SlotStatus.WAITING}, _("Only a waiting time can be skipped; this one is %(status)s."))
    end(slot, SlotStatus.SKIPPED, Why.BY_HAND, now=now, message=_by(actor, note))
    return _saved(slot, schedule, now, "slot.skip", actor, note=note)


@transaction.atomic
def skip_time(*, schedule: Schedule, logical_at: datetime, note: str = "", actor: Any) -> Slot:
    """Leave a coming time out before it comes. Raises InvalidInput for what is no time of the schedule."""
    slot, schedule, now = _future(schedule, logical_at)
    if slot.status != SlotStatus.WAITING:
        raise InvalidTransition(_("This time is %(status)s already.") % {"status": slot.get_status_display().lower()})
    end(slot, SlotStatus.SKIPPED, Why.BY_HAND, now=now, message=_by(actor, note))
    return _saved(slot, schedule, now, "slot.skip", actor, note=note)


@transaction.atomic
def run_slot(*, slot: Slot, actor: Any) -> Slot:
    """Run a time now: a waiting one at once, whatever is active; one that is over once more, as a new run.

    Raises InvalidTransition while it runs.
    """
    slot, schedule, now = _locked(slot)
    if slot.status == SlotStatus.RUNNING:
        raise InvalidTransition(_("It is running. Stop it first, or let it end."))
    return _run(slot, schedule, now, actor)


@transaction.atomic
def run_time(*, schedule: Schedule, logical_at: datetime, actor: Any) -> Slot:
    """Run a coming time before it comes; when it comes it has been run. Raises InvalidInput for what is no time."""
    slot, schedule, now = _future(schedule, logical_at)
    if slot.status != SlotStatus.WAITING:
        raise InvalidTransition(_("This time is %(status)s already.") % {"status": slot.get_status_display().lower()})
    return _run(slot, schedule, now, actor)


@transaction.atomic
def mark_slot(*, slot: Slot, status: str, note: str = "", actor: Any) -> Slot:
    """Say how a time is to be counted: succeeded, failed or skipped. Raises InvalidInput or InvalidTransition."""
    if status not in Mark.values:
        raise InvalidInput({"status": _("Choose one of %(all)s.") % {"all": ", ".join(Mark.values)}})
    slot, schedule, now = _locked(slot)
    if slot.status == SlotStatus.RUNNING:
        raise InvalidTransition(_("It is running. Stop it first, or let it end."))
    end(slot, SlotStatus(status), Why.MARKED, now=now, message=_by(actor, note))
    slot.is_ignored = False
    return _saved(slot, schedule, now, "slot.mark", actor, status=status, note=note)


@transaction.atomic
def ignore_slot(*, slot: Slot, ignored: bool = True, note: str = "", actor: Any) -> Slot:
    """Let a failed or stopped time count as success for those after it, or take that back."""
    slot, schedule, now = _locked(slot)
    _require(slot, RAN - {SlotStatus.SUCCEEDED}, _("Only a failure can be ignored; this one is %(status)s."))
    slot.is_ignored = ignored
    slot.reason, slot.message, slot.reason_at = (Why.IGNORED, _by(actor, note), now) if ignored else ("", "", now)
    slot.version += 1
    return _saved(slot, schedule, now, "slot.ignore" if ignored else "slot.heed", actor, note=note)


@transaction.atomic
def stop_slot(*, slot: Slot, actor: Any) -> Slot:
    """Ask the run of a running slot to stop. Raises InvalidTransition when nothing runs."""
    slot, schedule, now = _locked(slot)
    _require(slot, {SlotStatus.RUNNING}, _("Only a running time can be stopped; this one is %(status)s."))
    if slot.run is not None:
        steering.stop_run(run=slot.run, actor=actor)
    return _saved(slot, schedule, now, "slot.stop", actor)


# -- the pieces -------------------------------------------------------------------------------------------------------
def _locked(slot: Slot) -> tuple[Slot, Schedule, datetime]:
    """Raises Slot.DoesNotExist when its schedule was deleted meanwhile."""
    schedule = selectors.locked([slot.schedule_id], wait=True)
    if not schedule:
        raise Slot.DoesNotExist
    fresh = Slot.objects.select_related("run").get(pk=slot.pk)
    fresh.schedule = schedule[0]
    return fresh, schedule[0], database_now()


def _future(schedule: Schedule, logical_at: datetime) -> tuple[Slot, Schedule, datetime]:
    """The slot of a time that has not been made yet, saved."""
    schedule = selectors.locked([schedule.pk], wait=True)[0]
    now = database_now()
    known = Slot.objects.filter(schedule=schedule, logical_at=logical_at).first()
    if known is not None:
        known.schedule = schedule
        return known, schedule, now
    timetable = schedule.timetable
    after = logical_at - planning.SECOND
    if timetable is None or logical_at <= now or planning.next_of(schedule, after=after).logical_at != logical_at:
        raise InvalidInput({"logical_at": _("This is no coming time of the schedule. Take one of its next times.")})
    slot = engine.new_slot(schedule, logical_at, now=now)
    slot.due_at, slot.check_at = logical_at, logical_at
    slot.save(force_insert=True)
    return slot, schedule, now


def _run(slot: Slot, schedule: Schedule, now: datetime, actor: Any) -> Slot:
    again = slot.is_finished
    slot.status, slot.reason, slot.message = SlotStatus.WAITING, Why.NONE, ""
    slot.is_forced, slot.is_ignored, slot.failures = True, False, 0
    slot.due_at = slot.reason_at = slot.check_at = now
    slot.finished_at = slot.run = slot.backfill = None
    slot.late_at = schedule.late_at(slot.logical_at)
    slot.version += 1
    return _saved(slot, schedule, now, "slot.rerun" if again else "slot.run_now", actor)


def _require(slot: Slot, allowed: Any, refusal: str) -> None:
    if slot.status not in allowed:
        raise InvalidTransition(refusal % {"status": slot.get_status_display().lower()})


def _by(actor: Any, note: str) -> str:
    name = actor.get_username() if actor is not None else _("Cube")
    text = _("By %(name)s") % {"name": name}
    return f"{text}: {note.strip()}"[:500] if note.strip() else text


def _saved(slot: Slot, schedule: Schedule, now: datetime, action: str, actor: Any, **detail: Any) -> Slot:
    """Save the slot, write it down, and start what this made possible."""
    slot.save()
    told = {"schedule": str(schedule.uid), "logical_at": slot.logical_at.isoformat(), **detail}
    audit.record(actor=actor, action=action, target=slot, project=schedule.project.slug, detail=told)
    advance([schedule], now=now)
    slot.refresh_from_db()
    return slot
