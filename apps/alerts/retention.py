"""Removes what is over once it is older than the site keeps it. What is open, or snoozed, stays with its messages."""

import time
from datetime import datetime

import structlog
from django.db.models import QuerySet
from django.utils import timezone

from . import selectors
from .choices import DeliveryStatus
from .models import Delivery, Incident

BATCH = 500  # rows a transaction
SECONDS = 60.0  # of one run; the rest is for the next
logger = structlog.get_logger(__name__)


def remove_expired() -> int:
    """Remove what is due, for a minute at most. Returns how many incidents and messages. Safe to run twice at once."""
    limit = selectors.kept_since(timezone.now())
    deadline, removed = time.monotonic() + SECONDS, 0
    for rows in (_incidents(limit), _tests(limit)):
        while time.monotonic() < deadline and (batch := list(rows.values_list("pk", flat=True)[:BATCH])):
            removed += rows.filter(pk__in=batch).delete()[0]
    if removed:
        logger.info("alerts_removed_by_retention", rows=removed)
    return removed


def _incidents(limit: datetime) -> QuerySet[Incident]:
    """Their messages go with them. A snooze that has not ended is ended by the sweep first."""
    return Incident.objects.filter(closed_at__lt=limit, snoozed_until=None).order_by("closed_at")


def _tests(limit: datetime) -> QuerySet[Delivery]:
    """Messages of no incident."""
    over = Delivery.objects.filter(incident=None, created_at__lt=limit).exclude(status=DeliveryStatus.PENDING)
    return over.order_by("created_at")
