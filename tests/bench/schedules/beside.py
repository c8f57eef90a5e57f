"""S6 with a long history, S10 beside a backfill, S11 under edits: S1 and S2 again, with something else going on."""

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.bench.references import dagruns
from tests.bench.schedules import history, world
from tests.bench.schedules.speed import QUICK, S1_COUNT, S2_COUNT, measure
from tests.bench.table import Row, percentile

WATCHED_SECONDS = 0.05  # what watching resolves: less than that is no difference
HISTORY = 200_000 if QUICK else 5_000_000
BACKFILLED, BACKFILL_CAP = (100, 10) if QUICK else (1_000, 10)
JOB_SECONDS = 1.0  # what a job of the backfill takes
EDITS_PER_SECOND = 10
EDITED = 200  # schedules, in turn
LINES = ("* * * * *", "*/1 * * * *")  # the same times, but each change of the line is one of the timetable


def s6(folder: Path) -> list[Row]:
    """S2 on empty tables, then with millions of finished runs, and all that belongs to them, in the tables."""
    alone = measure(folder, S2_COUNT)
    history.make(HISTORY)
    found = measure(folder, S2_COUNT)
    return [
        compared("S6 row p99 with history", found, alone, 1.3, "Airflow: 15 s at 100,000 (#54283)"),
        taken("S6", found, alone),
    ]


def s10(folder: Path) -> list[Row]:
    """Live slots beside a backfill of a thousand, whose jobs take a second each."""
    alone = measure(folder, S2_COUNT)
    world.forget_runs()
    found = measure(folder, S2_COUNT, during=backfill, others=BACKFILLED)
    airflow = dagruns.told_backfill(S2_COUNT, BACKFILLED, BACKFILL_CAP, "Airflow 2.1: blocks (#18051)")
    row = compared("S10 live p99 beside a backfill", found, alone, 1.2, airflow)
    return [row, taken("S10", found, alone), Row("S10 backfill", str(found["beside"]), "", "")]


def compared(name: str, found: dict[str, Any], alone: dict[str, Any], most: float, reference: str) -> Row:
    before, after = percentile(alone["rows"], 99), percentile(found["rows"], 99)
    bar = f"<= {most}x (or {WATCHED_SECONDS} s, what watching resolves)"
    passed = after <= max(most * before, before + WATCHED_SECONDS)
    exact = not found["missing"] and not found["doubled"]
    told = f"{after:.2f} s against {before:.2f} s, {found['missing']} missing, {found['doubled']} doubled"
    return Row(name, told, bar, reference, passed and exact)


def taken(name: str, found: dict[str, Any], alone: dict[str, Any]) -> Row:
    before, after = percentile(alone["accepted"], 99), percentile(found["accepted"], 99)
    return Row(f"{name} accepted p99", f"{after:.2f} s against {before:.2f} s", "", str(found["machine"]))


# -- the backfill -----------------------------------------------------------------------------------------------------
def backfill(stop: threading.Event) -> str:
    """Start one of a schedule that is not due itself, and end its jobs. Returns how far it came, and in what time."""
    from apps.schedules import backfills
    from apps.schedules.clock import database_now
    from apps.schedules.models import Schedule, Slot

    world.make_schedules(world.prepare_once(), 1, first=world.next_minute(3600), prefix="filled")
    now, schedule = database_now(), Schedule.objects.get(name="filled0")
    span = timedelta(minutes=BACKFILLED - 1)
    last = now.replace(second=0, microsecond=0) - timedelta(hours=1)
    asked = {"from_at": last - span, "to_at": last, "max_active_runs": BACKFILL_CAP, "actor": None}
    made = backfills.start_backfill(schedule=schedule, **asked)
    slots, begun = Slot.objects.filter(backfill=made), time.monotonic()
    while not stop.wait(0.2) and slots.unfinished().exists():
        end_jobs(made)
    return f"{slots.filter(status='succeeded').count()} of {BACKFILLED} runs in {time.monotonic() - begun:.0f} s"


def end_jobs(of: Any) -> None:
    """The cluster's part: jobs that were begun a second ago have succeeded, and the watch tells so."""
    from django.utils import timezone

    from apps.core.events import publish
    from apps.jobs.choices import JobStatus
    from apps.jobs.events import JobStatusChanged
    from apps.jobs.models import Job

    now = timezone.now()
    begun = Job.objects.unfinished().filter(
        task_run__run__slots__backfill=of,
        status=JobStatus.STARTING,
        updated_at__lt=now - timedelta(seconds=JOB_SECONDS),
    )
    ids = list(begun.values_list("pk", flat=True))
    Job.objects.filter(pk__in=ids).update(status=JobStatus.SUCCEEDED, finished_at=now, version=3)
    for job in Job.objects.filter(pk__in=ids).only("uid", "project_id"):
        publish(JobStatusChanged(job.pk, str(job.uid), job.project_id, JobStatus.SUCCEEDED, 3))


# -- the edits --------------------------------------------------------------------------------------------------------
def s11(folder: Path) -> list[Row]:
    """S1 while ten schedules a second are edited: each second edit changes the cron line, the others the priority."""
    from apps.schedules.models import Slot

    found: dict[str, Any] = measure(folder, S1_COUNT, during=edit)
    p99, seconds = percentile(found["rows"], 99), found["beside"]
    exact = not found["missing"] and not found["doubled"]
    retro = Slot.objects.exclude(logical_at__in=found["minutes"]).count()
    exactly = f"{found['missing']} / {found['doubled']} / {retro}"
    edits = f"{len(seconds)} edits, p99 {percentile(seconds, 99):.2f} s, longest {percentile(seconds, 100):.2f} s"
    return [
        Row("S11 row p99 under edits", f"{p99:.2f} s", "<= 2.25 s", "beat stops for hours (#675)", p99 <= 2.25),
        Row("S11 missing / doubled / retroactive", exactly, "0 / 0 / 0", str(found["machine"]), exact and not retro),
        Row("S11 edits", edits, "", f"{EDITS_PER_SECOND} a second asked for"),
    ]


def edit(stop: threading.Event) -> list[float]:
    """Edit at a steady rate until told to stop. Returns the seconds that each edit took."""
    from apps.schedules import services
    from apps.schedules.models import Schedule

    keys = list(Schedule.objects.order_by("pk").values_list("pk", flat=True)[:EDITED])
    seconds: list[float] = []
    begun = time.monotonic()
    while not stop.wait(max(0.0, begun + len(seconds) / EDITS_PER_SECOND - time.monotonic())):
        turn, place = divmod(len(seconds), len(keys))
        changes = {"cron": LINES[(turn + 1) % 2]} if place % 2 else {"priority": turn % 7 + 1}
        since = time.monotonic()
        services.edit_schedule(schedule=Schedule.objects.get(pk=keys[place]), actor=None, **changes)
        seconds.append(time.monotonic() - since)
    return seconds
