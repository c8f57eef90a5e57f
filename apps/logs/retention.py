"""Removes the logs of finished streams once they are older than their project, or the site, keeps them."""

import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from apps.jobs.models import Job
from apps.projects.models import Project

from .compaction import discard
from .models import LogGap, LogSegment, LogStream

CAUSE = "retention"
BATCH = 200
SECONDS = 60.0  # of one run; the rest is for the next
logger = structlog.get_logger(__name__)


def remove_expired() -> int:
    """Remove what is due, for a minute at most. Returns the number of streams. Safe to run twice at once."""
    deadline, removed = time.monotonic() + SECONDS, 0
    for project_ids, days in _limits():
        while time.monotonic() < deadline and (streams := expired(project_ids, days)):
            removed += sum(remove_stream(stream_id=pk) for pk in streams)
    if removed:
        logger.info("logs_removed_by_retention", streams=removed)
    return removed


def _limits() -> Iterator[tuple[list[int], int]]:
    """(projects, days) for each number of days that is in force somewhere."""
    by_days: dict[int, list[int]] = defaultdict(list)
    for pk, days in Project.objects.values_list("pk", "log_retention_days"):
        if limit := days or settings.CUBE_LOG_RETENTION_DAYS:
            by_days[limit].append(pk)
    for days, projects in sorted(by_days.items()):
        for at in range(0, len(projects), BATCH):
            yield projects[at : at + BATCH], days


def expired(project_ids: list[int], days: int) -> list[int]:
    """A batch of complete streams whose last line is older."""
    limit = datetime.now(UTC) - timedelta(days=days)
    found = LogStream.objects.filter(
        job__project__in=project_ids,
        is_complete=True,
        line_count__gt=F("kept_from"),
        latest_time__lt=f"{limit:%Y-%m-%dT%H:%M:%S}",
        updated_at__lt=limit,  # A node's clock may be wrong; ours says when the last line came.
    )
    return list(found.order_by("pk").values_list("pk", flat=True)[:BATCH])


@transaction.atomic
def remove_stream(*, stream_id: int) -> bool:
    """Take a complete stream's segments away and leave a gap in their place; False when somebody else did."""
    stream = LogStream.objects.select_for_update().filter(pk=stream_id, is_complete=True).first()
    if stream is None or stream.kept_from >= stream.line_count:
        return False
    segments = LogSegment.objects.filter(stream=stream)
    names = set(segments.values_list("name", flat=True))
    segments.delete()
    discard(names)
    now = timezone.now()
    LogGap.objects.update_or_create(
        stream=stream,
        ordinal=stream.kept_from,
        defaults={
            "cause": CAUSE,
            "text": _("Removed by retention on %(day)s.") % {"day": date_format(now, "Y-m-d")},
            "since": stream.first_time,
            "until": stream.last_time,
            "bytes": stream.byte_count,
            "created_at": now,
        },
    )
    # Not `save`: `updated_at` stays the time of the last line.
    LogStream.objects.filter(pk=stream.pk).update(kept_from=stream.line_count)
    return True


def removed_at(job: Job) -> datetime | None:
    """When retention last took something of this job's log."""
    gaps = LogGap.objects.filter(stream__job=job, cause=CAUSE).order_by("-created_at")
    return gaps.values_list("created_at", flat=True).first()
