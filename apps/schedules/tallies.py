"""What is counted for Prometheus, in rows: adding is one small statement a batch, after the batch is saved."""

from collections import Counter
from collections.abc import Iterable
from functools import partial

from django.db import transaction
from django.db.models import F

from .choices import SlotStatus
from .models import Slot, Tally

BOUNDS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)  # seconds of lag
LAG, LAG_SUM, UNRUN, REFUSED, TWICE = "lag", "lag_sum", "unrun", "launches_refused", "duplicates_refused"
Counts = Counter[tuple[str, str]]


def add_later(counts: Counts) -> None:
    """Add once the transaction is real. What a crash loses in between is a count, never a slot."""
    if counts:
        transaction.on_commit(partial(_add, counts))


def of_slots(slots: Iterable[Slot]) -> Counts:
    """What these slots, as just saved, count for: the lag of first live starts, and each that was not run, with why."""
    counts: Counts = Counter()
    for slot in slots:
        if slot.status == SlotStatus.RUNNING and slot.backfill_id is None and slot.tries == 1 and slot.started_at:
            lag = max(0.0, (slot.started_at - slot.due_at).total_seconds())
            counts[LAG, str(next((bound for bound in BOUNDS if lag <= bound), "+Inf"))] += 1
            counts[LAG_SUM, ""] += lag  # type: ignore[assignment]
        elif slot.status in {SlotStatus.SKIPPED, SlotStatus.MISSED}:
            counts[UNRUN, f"{slot.status}:{slot.reason}"] += 1
    return counts


def _add(counts: Counts) -> None:
    """In one order, so that two that add at once do not wait for each other in a ring."""
    with transaction.atomic():
        for (name, label), count in sorted(counts.items()):
            if not Tally.objects.filter(name=name, label=label).update(count=F("count") + count):
                Tally.objects.get_or_create(name=name, label=label)
                Tally.objects.filter(name=name, label=label).update(count=F("count") + count)
