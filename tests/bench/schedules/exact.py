"""S4 outage, S5 clocks that are set, S8 limits, S9 dependence, S12 clock steps: exactness, without processes."""

import os
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from tests.bench.references import clocks
from tests.bench.schedules import world
from tests.bench.schedules.fleet import fleet, load, wait_for_workers
from tests.bench.table import Row, percentile

QUICK = os.environ.get("QUICK") == "1"
ZONES = {
    "America/New_York": 2026, "Europe/London": 2026, "Australia/Lord_Howe": 2026, "America/Sao_Paulo": 2017,
    "Asia/Kolkata": 2026, "Africa/Casablanca": 2026,
}  # fmt: skip
LINES = (
    "* * * * *", "*/15 * * * *", "30 * * * *", "0 */2 * * *", "30 2 * * *", "30 1 * * *", "0 0 * * *",
    "*/20 0-3 * * SUN", "10,20 2,3 * * MON-FRI", "0 12 L * *", "15 1 * * SUN#1,5L", "59 23 31 12 *",
)  # fmt: skip
OUTAGE = {"latest": 1, "all": 60, "none": 1}  # by policy: how many of its times are run
OUTAGE_SLOTS = 121


def s5(_folder: Path) -> list[Row]:
    """Six zones, twelve lines, two years, against a second reading of the rules that looks at every minute."""
    from apps.schedules.timetables import occurrences, parse
    from tests.schedules.oracle import Oracle, times_of

    differences, expected = 0, {}
    lines = LINES[4:7] if QUICK else LINES
    for zone, year in ZONES.items():
        since = datetime(year, 1, 1, tzinfo=UTC)
        until = since + (timedelta(days=330) if QUICK else timedelta(days=730))
        oracles = [Oracle(line, zone) for line in lines]
        for line, times in zip(lines, times_of(oracles, since, until), strict=True):
            found = list(occurrences(parse(line, zone), after=since, until=until))
            expected[zone, line] = times
            differences += len(set(found) ^ set(times)) + (found != sorted(set(found)))
    told = f"{differences} differences in {sum(map(len, expected.values())):,} times"
    reference = clocks.told(expected, "celery loses 1 slot a fold; Airflow takes the 2nd")
    return [Row("S5 clocks that are set", told, "0", reference, not differences)]


def s4(folder: Path) -> list[Row]:
    """Two hours of nothing, then everything is made up for as each policy says; and live times beside that."""
    from django.db import connection

    rows = [made_up_for()]
    return [*rows, live_meanwhile(folder)] if connection.vendor == "postgresql" else rows


def made_up_for() -> Row:
    """With the clock held at half a minute past: the newest time is on time, and so many others are in the window."""
    from django.db.models import Count

    from apps.schedules import engine
    from apps.schedules.models import Schedule, Slot

    each = 10 if QUICK else 333
    now = datetime.now(UTC).replace(second=30, microsecond=0)
    make_overdue(each, now - timedelta(hours=2))
    begun = time.monotonic()
    with mock.patch("apps.schedules.engine.database_now", return_value=now):
        while engine.fire_due(limit=100):
            pass
    took = time.monotonic() - begun
    exact, facts = True, []
    for policy, expected in OUTAGE.items():
        rows = Slot.objects.filter(schedule__name__startswith=policy)
        per_schedule = rows.order_by().values("schedule", "status").annotate(n=Count("pk")).values_list("status", "n")
        counts = Counter(per_schedule)
        exact &= counts == Counter({("running", expected): each, ("missed", OUTAGE_SLOTS - expected): each})
        facts.append(f"{policy} {expected} run, {OUTAGE_SLOTS - expected} missed")
    behind = Schedule.objects.filter(next_fire_at__lte=now).count()
    told = f"{'; '.join(facts)}: {'each' if exact else 'NOT all'} of {3 * each}; {behind} behind; {took:.1f} s"
    return Row("S4 after two hours of outage", told, "exact, none behind", "beat: 1 run, always", exact and not behind)


def make_overdue(each: int, since: datetime) -> None:
    first = since.replace(second=0)
    for policy in OUTAGE:
        rules = {"catch_up": policy, "catch_up_window_seconds": 3600}
        world.make_schedules(world.prepare_once(), each, first=first, prefix=policy, **rules)


def live_meanwhile(folder: Path) -> Row:
    """The same outage ends ten seconds before a full minute: how late are the next times?"""
    from apps.schedules.models import Schedule

    each = 10 if QUICK else 333
    world.forget_runs()
    with fleet(folder) as running:
        running.start()
        wait_for_workers(running)
        first = world.next_minute(20)
        make_overdue(each, first - timedelta(hours=2))
        Schedule.objects.update(is_paused=True)
        time.sleep(max(0.0, first.timestamp() - 10 - time.time()))
        Schedule.objects.update(is_paused=False)
        lags = world.watch([first, first + timedelta(minutes=1)], 3 * each, until=160)["rows"]
    lost = 6 * each - len(lags)
    p99 = percentile(lags, 99)
    told = f"{p99:.2f} s, {lost} missing, {load()}"
    return Row("S4 live p99 while it is made up for", told, "<= 5 s", "", p99 <= 5 and not lost)


def s8(_folder: Path) -> list[Row]:
    """Random caps and policies, an hour of ticks and ends in simulated time: never over a cap, none waits for ever."""
    from apps.pipelines.models import Run
    from apps.schedules import engine, following
    from apps.schedules.models import Schedule, Slot

    count, minutes = (20, 20) if QUICK else (300, 60)
    chance = random.Random(5)  # noqa: S311
    pipeline = world.prepare_once()
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        cap, overlap = chance.randint(1, 4), chance.choice(["queue", "queue_latest", "skip", "replace"])
        world.make_schedules(pipeline, 1, first=first, prefix=f"r{number}-", max_active_runs=cap, overlap=overlap)
    over, clock = 0, {"now": first}
    now = mock.Mock(side_effect=lambda: clock["now"])
    with (
        mock.patch.multiple("apps.schedules.engine", database_now=now),
        mock.patch.multiple("apps.schedules.following", database_now=now),
    ):
        for minute in range(minutes):
            clock["now"] = first + timedelta(minutes=minute, seconds=1)
            while engine.fire_due() >= engine.BATCH:
                pass
            over += _over_cap(Slot, Schedule)
            active = list(Run.objects.unfinished().values_list("pk", flat=True))
            ended = chance.sample(active, k=len(active) * 2 // 3)
            Run.objects.filter(pk__in=ended).update(status="succeeded", finished_at=clock["now"])
            following.record_runs(run_ids=ended)
            over += _over_cap(Slot, Schedule)
        for _round in range(minutes * 2):
            active = list(Run.objects.unfinished().values_list("pk", flat=True))
            if not active and not Slot.objects.unfinished().exists():
                break
            Run.objects.filter(pk__in=active).update(status="succeeded", finished_at=clock["now"])
            following.record_runs(run_ids=active)
            following.sweep()  # Nobody delivers messages here: runs that were stopped to make room are found by it.
    stuck = Slot.objects.unfinished().count()
    told = f"{over} over a cap, {stuck} left waiting, {Slot.objects.count():,} slots, {load()}"
    return [Row("S8 caps held at every event", told, "0, 0", "", not over and not stuck)]


def _over_cap(slots, schedules) -> int:  # type: ignore[no-untyped-def]
    from django.db.models import Count, F, Q

    running = Count("slots", filter=Q(slots__status="running"))
    return schedules.objects.annotate(n=running).filter(n__gt=F("max_active_runs")).count()


def s9(_folder: Path) -> list[Row]:
    """Random histories: failures, skips, reruns, marks, backfills, every rule; afterwards nothing waits for ever."""
    from hypothesis import HealthCheck, given, settings

    from tests.schedules.test_histories import HISTORIES, check_history

    examples = 300 if QUICK else 5000
    try:
        how = settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        how(given(**HISTORIES)(check_history))()
    except AssertionError as failure:
        return [Row("S9 no state without progress", str(failure)[:80], "0 found", "Airflow deadlocks (#29524)", False)]
    return [
        Row("S9 no state without progress", f"0 of {examples:,} histories", "0", "Airflow deadlocks (#29524)", True)
    ]


def s12(_folder: Path) -> list[Row]:
    """The database's clock is stepped by minutes both ways: nothing is early by it, nothing twice."""
    from apps.pipelines.models import Run
    from apps.schedules import engine
    from apps.schedules.models import Slot

    count, ticks = (20, 60) if QUICK else (200, 400)
    pipeline = world.prepare_once()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    world.make_schedules(pipeline, count, first=now, catch_up="all")
    chance, early = random.Random(12), 0  # noqa: S311
    for _tick in range(ticks):
        now += timedelta(seconds=chance.choice([1, 5, 20, 60, -90, 90, -600, 600]))
        with mock.patch("apps.schedules.engine.database_now", lambda at=now: at):
            since = world.newest_slot()
            engine.fire_due()
            early += Slot.objects.filter(pk__gt=since, logical_at__gt=now).count()
        Slot.objects.unfinished().update(status="succeeded")  # What runs on for hours would be looked at each time.
    runs, slots = Run.objects.count(), Slot.objects.filter(run__isnull=False).count()
    told = f"{early} early, {runs - slots} twice, {slots:,} run"
    return [Row("S12 clock steps of ±10 min", told, "0, 0", "", not early and runs == slots)]
