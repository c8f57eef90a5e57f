"""Times that have not ended by their deadline, found by an index of those that still may: nothing else is read."""

from django.db import connection, transaction
from django.db.models import F

from apps.core.events import publish

from .clock import database_now
from .events import DeadlinesPassed
from .models import Schedule, Slot

BATCH = 500  # times a transaction


def announce_passed(*, limit: int = BATCH) -> int:
    """Announce up to `limit` times whose deadline has passed, each once. Returns how many were taken.

    Rows that somebody holds are left to the next tick, never waited for: the engine locks schedules before their times,
    and this looks at times alone.
    """
    due = Slot.objects.filter(late_at__lte=database_now()).order_by("late_at")
    if not due.exists():  # Nearly always: then no transaction is begun, of which SQLite has one at a time.
        return 0
    with transaction.atomic():
        skip = connection.features.has_select_for_update_skip_locked
        taken = list(due.select_for_update(of=("self",), skip_locked=skip).values_list("pk", "schedule_id")[:limit])
        Slot.objects.filter(pk__in=[slot for slot, _schedule in taken]).update(late_at=None)
        passed = Schedule.objects.filter(pk__in={schedule for _slot, schedule in taken}).order_by()
        triples = frozenset((pk, str(uid), project) for pk, uid, project in passed.values_list("pk", "uid", "project"))
        publish(DeadlinesPassed(schedules=triples))
    return len(taken)


def move(schedule: Schedule) -> None:
    """The schedule has another deadline, or none any more: it holds for the times that have not ended."""
    late_at = None if schedule.deadline is None else F("logical_at") + schedule.deadline
    Slot.objects.unfinished().filter(schedule=schedule, backfill=None).update(late_at=late_at)
