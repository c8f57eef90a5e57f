"""What becomes of a slot when its run moves on, and what else a run's end sets off."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from apps.core.bulk import update_rows
from apps.core.events import publish
from apps.pipelines.choices import RUN_FINISHED, RunStatus
from apps.pipelines.models import Run

from . import selectors
from .choices import BackfillStatus, Kind, SlotStatus, Why
from .clock import database_now
from .engine import new_slot
from .events import ScheduleChanged, SchedulePaused, SlotFailed
from .models import Schedule, Slot
from .starting import SAVED, advance, end

OUTCOME = {
    RunStatus.SUCCEEDED: SlotStatus.SUCCEEDED,
    RunStatus.FAILED: SlotStatus.FAILED,
    RunStatus.STOPPED: SlotStatus.STOPPED,
}
LONGEST_BACK_OFF = timedelta(hours=24)
LOOK_BACK = timedelta(hours=1)  # how far the sweep looks for ends that nobody told followers of


@transaction.atomic
def record_runs(*, run_ids: Iterable[int]) -> None:
    """Take over how these runs stand: end or reopen their slots, try again, and start what waited for them."""
    now = database_now()
    slots = list(Slot.objects.filter(run__in=list(run_ids)).values_list("pk", "schedule_id"))
    if not slots:
        return
    schedules = {row.pk: row for row in selectors.locked({pk for _slot, pk in slots}, wait=True)}
    rows = Slot.objects.filter(pk__in=[pk for pk, _schedule in slots]).select_related("run")
    changed = [slot for slot in rows if take_over(slot, schedules[slot.schedule_id], now=now)]
    update_rows(changed, [*SAVED, "failures", "due_at"])
    update_rows(schedules.values(), ["failures_in_a_row", "is_paused", "paused_note", "paused_at", "version"])
    advance(list(schedules.values()), now=now)
    finish_backfills({slot.backfill_id for slot in changed if slot.backfill_id}, now=now)


def take_over(slot: Slot, schedule: Schedule, *, now: datetime) -> bool:
    """Set the slot as its run stands. Returns whether anything is new. A mark of a person stands."""
    run = slot.run
    if run is None or slot.reason == Why.MARKED or slot.status == SlotStatus.WAITING:
        return False
    slot.updated_at = now
    if run.status not in RUN_FINISHED:
        was_over = slot.is_finished
        slot.status, slot.finished_at = SlotStatus.RUNNING, None
        if was_over and slot.backfill_id is None:
            slot.late_at = schedule.late_at(slot.logical_at)
        return was_over
    outcome = OUTCOME[RunStatus(run.status)]
    if slot.status == outcome:
        return False
    if outcome == SlotStatus.FAILED and slot.failures < schedule.run_retries:
        _try_again(slot, schedule, now)
        return True
    end(slot, outcome, Why.NONE, now=now, message=run.message)
    slot.finished_at = run.finished_at or now
    _count(slot, schedule, now)
    return True


def _try_again(slot: Slot, schedule: Schedule, now: datetime) -> None:
    wait = min(LONGEST_BACK_OFF, timedelta(seconds=schedule.run_retry_delay_seconds) * 2**slot.failures)
    slot.failures += 1
    slot.status, slot.reason, slot.reason_at = SlotStatus.WAITING, Why.RETRY, now
    told = {"n": slot.failures, "of": schedule.run_retries}
    slot.message = _("The run failed; retry %(n)d of %(of)d.") % told
    slot.due_at = slot.check_at = now + wait
    slot.version += 1


def _count(slot: Slot, schedule: Schedule, now: datetime) -> None:
    """Failures in a row of live slots; too many pause the schedule, which is better than failing all night."""
    if slot.backfill_id is not None:
        return
    if slot.status == SlotStatus.SUCCEEDED:
        schedule.failures_in_a_row = 0
    elif slot.status == SlotStatus.FAILED:
        schedule.failures_in_a_row += 1
        publish(SlotFailed(slot_id=slot.pk, schedule_id=schedule.pk, project_id=schedule.project_id))
        if schedule.pause_after_failures and schedule.failures_in_a_row >= schedule.pause_after_failures:
            _pause(schedule, now)


def _pause(schedule: Schedule, now: datetime) -> None:
    if schedule.is_paused:
        return
    schedule.is_paused, schedule.paused_at = True, now
    schedule.paused_note = _("Paused by itself after %(n)d failed runs in a row.") % {"n": schedule.failures_in_a_row}
    schedule.version += 1
    publish(SchedulePaused(schedule_id=schedule.pk, project_id=schedule.project_id))
    publish(ScheduleChanged(schedule_id=schedule.pk, schedule_uid=str(schedule.uid), project_id=schedule.project_id))


def finish_backfills(keys: Collection[int], *, now: datetime) -> None:
    done = selectors.running_backfills_done().filter(pk__in=keys)
    done.update(status=BackfillStatus.FINISHED, finished_at=now, updated_at=now)


# -- schedules that follow pipelines ----------------------------------------------------------------------------------
def follow(*, runs: Iterable[Run]) -> None:
    """Make the slots of schedules that follow these runs' pipelines, and wake those that wait for one of them."""
    runs = list(runs)
    pipelines = {run.pipeline_id for run in runs}
    followers, awaiting = selectors.followers_of(pipelines), selectors.waiting_on(pipelines)
    if not followers and not awaiting:
        return
    with transaction.atomic():
        now = database_now()
        schedules = selectors.locked({*followers, *awaiting}, wait=True)
        made = [slot for schedule in schedules for slot in _slots_after(schedule, runs, now)]
        unique = {(slot.schedule_id, slot.logical_at): slot for slot in made}
        there = selectors.existing(made)
        advance(schedules, fresh=[slot for place, slot in unique.items() if place not in there], now=now)


def follow_runs(*, run_ids: Iterable[int]) -> None:
    """`follow` for those of these runs that succeeded."""
    runs = Run.objects.filter(pk__in=list(run_ids), status=RunStatus.SUCCEEDED).defer("params")
    follow(runs=runs)


def _slots_after(schedule: Schedule, runs: Iterable[Run], now: datetime) -> Iterable[Slot]:
    """A run without a logical time sets off who follows that pipeline alone: only one time can be meant."""
    if schedule.kind != Kind.AFTER:
        return
    followed = {pipeline.pk for pipeline in schedule.after.all()}
    for run in runs:
        logical_at = run.logical_at or (run.created_at if len(followed) == 1 else None)
        ended_at = run.finished_at or now
        if run.pipeline_id not in followed or logical_at is None or ended_at < schedule.anchor_at:
            continue
        if (schedule.start_at and ended_at < schedule.start_at) or (schedule.end_at and ended_at > schedule.end_at):
            continue
        slot = new_slot(schedule, logical_at, now=now)
        slot.interval_start, slot.due_at = run.interval_start or logical_at, now
        if schedule.jitter_seconds:
            slot.due_at = slot.check_at = now + timedelta(seconds=schedule.jitter)
        yield slot


def sweep(*, limit: int = 500) -> None:
    """What a lost message left undone: ends nobody told slots of, followers nobody woke, runs that were deleted."""
    if ids := selectors.ended_unnoticed(limit=limit):
        record_runs(run_ids=ids)
    _end_without_run()
    now = database_now()
    finish_backfills(selectors.running_backfills_done().values_list("pk", flat=True), now=now)
    if runs := list(selectors.recently_followed(since=now - LOOK_BACK)[:limit]):
        follow(runs=runs)


@transaction.atomic
def _end_without_run() -> None:
    now = database_now()
    orphans = list(selectors.without_run()[:100])
    if not orphans:
        return
    schedules = selectors.locked({slot.schedule_id for slot in orphans}, wait=True)
    for slot in orphans:
        end(slot, SlotStatus.STOPPED, Why.RUN_GONE, now=now)
        slot.updated_at = now
    update_rows(orphans, SAVED)
    advance(schedules, now=now)
