"""From times to runs. Beat only ticks; whoever gets the tick does what is due, under the schedules' row locks.

Several may do so at once: each takes schedules nobody holds (SKIP LOCKED), and a time's slot, its run and the
schedule's next time are saved in one transaction. So a process may be killed at any line, and ticks may come twice.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import transaction

from apps.core.bulk import update_rows

from . import planning, selectors, tallies
from .catchup import ON_TIME
from .choices import SlotStatus, Why
from .clock import database_now
from .models import Schedule, Slot, slot_uid
from .starting import advance

BATCH = 250  # schedules a transaction: small enough to be seen soon, and shared between workers
AT_ONCE = 4  # workers that find something to take of one crowd


def fire_due(*, limit: int = BATCH) -> int:
    """Make the slots of up to `limit` schedules that are due, and start what may start.

    Returns how many schedules were taken; what others hold at the moment is theirs, and not waited for. More than
    `limit` are looked at, so that several at once each find some.
    """
    now = database_now()
    due = selectors.due(now, limit=limit * AT_ONCE)
    if not due:
        return 0
    with transaction.atomic():
        taken = selectors.locked(due, limit=limit)
        schedules = [row for row in taken if _is_due(row, now)]
        if schedules:
            fire(schedules, {row.pk: planning.plan(row, now=now) for row in schedules}, now=now)
    return len(taken)


def _is_due(row: Schedule, now: datetime) -> bool:
    """Asked again under the lock: it may have been paused, edited or fired by somebody else."""
    return not row.is_paused and row.next_fire_at is not None and row.next_fire_at <= now


def fire(schedules: Collection[Schedule], plans: dict[int, planning.Plan], *, now: datetime) -> None:
    """Save the slots of the planned times and move on to the next. The schedules are locked by the caller."""
    made = [slot for schedule in schedules for slot in _slots(schedule, plans[schedule.pk], now)]
    there = selectors.existing(made)
    fresh = [slot for slot in made if (slot.schedule_id, slot.logical_at) not in there]
    for schedule in schedules:
        plan = plans[schedule.pk]
        schedule.last_logical_at = max(plan.verdicts, default=schedule.last_logical_at)
        schedule.next_logical_at, schedule.next_fire_at = plan.next.logical_at, plan.next.fire_at
    update_rows(schedules, ["last_logical_at", "next_logical_at", "next_fire_at"])
    if len(made) > len(fresh):
        tallies.add_later(Counter({(tallies.TWICE, ""): len(made) - len(fresh)}))
    advance(schedules, fresh=fresh, now=now)


def _slots(schedule: Schedule, plan: planning.Plan, now: datetime) -> Iterable[Slot]:
    before = schedule.last_logical_at
    for logical_at, why in plan.verdicts.items():
        slot = new_slot(schedule, logical_at, now=now, why_not=why, before=before)
        due_at = planning.fire_time(schedule, logical_at)
        if not why and now - due_at <= ON_TIME:  # What is caught up is due now: it has not waited for anything yet.
            slot.due_at = due_at
        yield slot
        before = logical_at


def new_slot(
    schedule: Schedule, logical_at: datetime, *, now: datetime, why_not: Why = Why.NONE, before: datetime | None = None
) -> Slot:
    """A slot that is not saved: waiting, or missed for a reason."""
    return Slot(
        uid=slot_uid(schedule.uid, logical_at),
        schedule=schedule,
        project_id=schedule.project_id,
        logical_at=logical_at,
        interval_start=planning.interval_start(schedule, logical_at, before),
        due_at=logical_at if why_not else now,
        status=SlotStatus.MISSED if why_not else SlotStatus.WAITING,
        reason=why_not,
        reason_at=now if why_not else None,
        check_at=None if why_not else now,
        late_at=None if why_not else schedule.late_at(logical_at),
        finished_at=now if why_not else None,
    )


def look_again(*, limit: int = BATCH) -> int:
    """Advance the schedules of waiting slots that asked for it: a start that comes later, a retry, a lost message."""
    now = database_now()
    ids = selectors.to_check(now, limit=limit)
    if ids:
        with transaction.atomic():
            advance(list(selectors.locked(ids)), now=now)
    return len(ids)


def advance_schedules(schedule_ids: Iterable[int]) -> None:
    """Start what may start of these schedules, after something they wait for has happened."""
    with transaction.atomic():
        advance(list(selectors.locked(schedule_ids, wait=True)), now=database_now())
