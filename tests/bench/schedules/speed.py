"""S1 burst, S2 base, S3 crash, S10 beside a backfill, S11 edits, S6 history: real processes, PostgreSQL, a stub API."""

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from tests.bench.schedules import world
from tests.bench.schedules.fleet import THREADS, WORKERS, Fleet, fleet, load, wait_for_workers
from tests.bench.table import Row, percentile

QUICK = os.environ.get("QUICK") == "1"
S1_COUNT, S2_COUNT = (1500, 300) if QUICK else (10_000, 1_000)
MINUTES = int(os.environ.get("MINUTES", "1" if QUICK else "3"))
DCB = {
    "S1": "django-celery-beat sends 6-9 %; RedBeat p99 11.6-13.0 s",
    "S2": "django-celery-beat p99 13.6 s; RedBeat 1.6 s",
}


def measure(
    folder: Path, count: int, *, during: Callable[[Fleet], None] | None = None, patience: float = 40.0
) -> dict[str, object]:
    """Schedules due each minute for some minutes: lags and exactness. `during` runs beside it, in a thread."""
    taken = sum(1 for _entry in os.scandir(os.environ["CUBE_BENCH_STUB"]))
    first = world.next_minute(20 if count > 2000 else 12)
    minutes = [first + timedelta(minutes=n) for n in range(MINUTES)]
    world.make_schedules(world.prepare_once(), count, first=first, end_at=minutes[-1])
    with fleet(folder) as running:
        running.start()
        wait_for_workers()
        if during is not None:
            threading.Thread(target=during, args=(running,), daemon=True).start()
        idle = running.processor_seconds()
        until = minutes[-1].timestamp() - time.time() + patience
        rows = world.watch(minutes, count, until=until)["rows"]
        settle(taken + count * len(minutes), patience)
        used = running.processor_seconds()
    missing, doubled, jobs_doubled = world.exactness(minutes, count)
    return {
        "rows": rows, "accepted": world.accepted_lags(minutes), "missing": missing, "doubled": doubled + jobs_doubled,
        "expected": count * len(minutes), "machine": f"{load()}, {WORKERS} workers of {THREADS} threads",
        "used": sum(seconds - idle.get(name, 0.0) for name, seconds in used.items()),
    }  # fmt: skip


def settle(expected: int, patience: float) -> None:
    """Until the stub has accepted all of them, or no more come."""
    from tests.bench.schedules.stub import FOLDER

    last, since = -1, time.monotonic()
    while time.monotonic() - since < patience:
        count = sum(1 for _entry in os.scandir(FOLDER))
        if count >= expected:
            return
        if count != last:
            last, since = count, time.monotonic()
        time.sleep(0.5)


def judged(name: str, found: dict[str, object], row_bar: float, accepted_bar: float, reference: str) -> list[Row]:
    rows, accepted = found["rows"], found["accepted"]
    p99, taken = percentile(rows, 99), percentile(accepted, 99)  # type: ignore[arg-type]
    lost = found["expected"] - len(accepted)  # type: ignore[arg-type, operator]
    p50 = percentile(rows, 50)  # type: ignore[arg-type]
    exact = not found["missing"] and not found["doubled"] and not lost
    told = f"{found['missing']} / {found['doubled']}, {lost} not accepted"
    in_time = taken <= accepted_bar and not lost
    first = f"{p99:.2f} s (p50 {p50:.2f})"
    return [
        Row(f"{name} slot -> run row, p99", first, f"<= {row_bar} s", reference, p99 <= row_bar),
        Row(f"{name} slot -> accepted, p99", f"{taken:.1f} s", f"<= {accepted_bar} s", str(found["machine"]), in_time),
        Row(f"{name} missing / doubled", told, "0 / 0", "", exact),
        Row(f"{name} processor time", f"{found['used'] * 1000 / found['expected']:.1f} s a 1,000", "", "told"),  # type: ignore[operator]
    ]


def s1(folder: Path) -> list[Row]:
    """Ten thousand schedules, each due every minute."""
    return judged("S1", measure(folder, S1_COUNT), 1.5, 15.0, DCB["S1"])


def s2(folder: Path) -> list[Row]:
    """A thousand schedules, each due every minute."""
    return judged("S2", measure(folder, S2_COUNT), 0.5, 2.0, DCB["S2"])


def s3(folder: Path) -> list[Row]:
    """S2 while a random process is killed -9 every few seconds."""
    kills: list[str] = []
    wanted = 5 if QUICK else 30

    def kill(running: Fleet) -> None:
        for _time in range(wanted):
            time.sleep(60 * MINUTES / wanted)
            kills.append(running.kill_one())

    found = measure(folder, S2_COUNT, during=kill, patience=60)
    gap = percentile(found["rows"], 100)  # type: ignore[arg-type]
    exact = not found["missing"] and not found["doubled"]
    lost = found["expected"] - len(found["accepted"])  # type: ignore[arg-type, operator]
    told = f"{found['missing']} missing, {found['doubled']} doubled, {lost} not accepted, {len(kills)} kills"
    return [
        Row("S3 exactly once through kill -9", told, "0, 0", "beat 50 % twice; RedBeat 1 lost", exact and not lost),
        Row("S3 longest gap to a run row", f"{gap:.1f} s", "<= 5 s", "RedBeat 23 s", gap <= 5),
        Row("S3 longest gap to accepted", f"{percentile(found['accepted'], 100):.1f} s", "", "told"),  # type: ignore[arg-type]
    ]


def s10(folder: Path) -> list[Row]:
    """Live slots beside a backfill of a thousand."""
    from apps.schedules import backfills
    from apps.schedules.clock import database_now
    from apps.schedules.models import Schedule

    before = measure(folder, S2_COUNT)
    Schedule.objects.all().delete()
    pipeline = world.prepare_once()
    world.make_schedules(pipeline, 1, first=world.next_minute(3600), prefix="filled")
    now = database_now()
    schedule = Schedule.objects.get(name="filled0")
    filled = 100 if QUICK else 1000
    from_at = now - timedelta(minutes=filled)
    backfills.start_backfill(schedule=schedule, from_at=from_at, to_at=now, max_active_runs=50, actor=None)
    found = measure(folder, S2_COUNT)
    alone, beside = percentile(before["rows"], 99), percentile(found["rows"], 99)  # type: ignore[arg-type]
    passed = beside <= max(1.2 * alone, alone + 0.05)
    told = f"{beside:.2f} s against {alone:.2f} s"
    return [
        Row(
            "S10 live p99 beside a backfill",
            told,
            "<= 1.2x (or 0.05 s, what watching resolves)",
            "Airflow blocks (#18051)",
            passed,
        )
    ]


def s11(folder: Path) -> list[Row]:
    """S1 while ten schedules a second are edited."""
    from apps.schedules import services
    from apps.schedules.models import Schedule

    def edit(_running: Fleet) -> None:
        end = time.monotonic() + 60 * MINUTES
        keys = list(Schedule.objects.values_list("pk", flat=True)[:200])
        number = 0
        while time.monotonic() < end:
            schedule = Schedule.objects.get(pk=keys[number % len(keys)])
            services.edit_schedule(schedule=schedule, priority=number % 7, actor=None)
            number += 1
            time.sleep(0.1)

    found = measure(folder, S1_COUNT, during=edit)
    p99 = percentile(found["rows"], 99)  # type: ignore[arg-type]
    exact = not found["missing"] and not found["doubled"]
    return [
        Row("S11 row p99 under edits", f"{p99:.2f} s", "<= 2.25 s", "beat stops for hours (#675)", p99 <= 2.25),
        Row("S11 missing / doubled", f"{found['missing']} / {found['doubled']}", "0 / 0", "", exact),
    ]


def s6(folder: Path) -> list[Row]:
    """S2 on empty tables, then with millions of finished runs and slots in them."""
    history = 200_000 if QUICK else 5_000_000
    alone = measure(folder, S2_COUNT)
    world.forget_runs()
    world.make_history(history)
    found = measure(folder, S2_COUNT)
    before, after = percentile(alone["rows"], 99), percentile(found["rows"], 99)  # type: ignore[arg-type]
    told = f"{after:.2f} s against {before:.2f} s, {history:,} old runs"
    passed = after <= max(1.3 * before, before + 0.05)
    return [Row("S6 row p99 with history", told, "<= 1.3x (or 0.05 s)", "Airflow: 15 s at 100,000 (#54283)", passed)]
