"""S3: schedulers and workers are killed -9 at their work. Each slot exactly once, and no long silence."""

import os
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from tests.bench.references import beats
from tests.bench.schedules import deaths, world
from tests.bench.schedules.fleet import Fleet, fleet, load, wait_for_workers
from tests.bench.schedules.speed import S2_COUNT, beside, settle
from tests.bench.table import Row, percentile

QUICK = os.environ.get("QUICK") == "1"
# (schedules, seconds between their times, how many times): S2's load more often, and S1's.
CROWDS = ((300, 20, 2),) if QUICK else ((1_000, 20, 8), (10_000, 60, 2))
PATIENCE = 180  # seconds after the last crowd, and without progress: a busy machine takes a minute to start a process
GAP_SECONDS, GAP_KILL_SECONDS = (15, 7) if QUICK else (75, 7)
GAP_SCHEDULES = 600  # one every tenth of a second, all minute long
GAP_BARS = {1: 5.0, 2: 1.0}  # seconds, by how many schedulers there are
SCHEDULER = ("beat", "ticker")
BEATS = "django-celery-beat 50 % twice; RedBeat 1 lost, silent for 23 s"


def s3(folder: Path) -> list[Row]:
    rows = [row for crowd in CROWDS for row in exactly_once(folder, *crowd)]
    rows += [row for schedulers in GAP_BARS for row in gap(folder, schedulers)]
    return [*rows, Row("S3 beat killed half way", "", "", beats.told_killed(S2_COUNT, BEATS))]


# -- exactly once -----------------------------------------------------------------------------------------------------
def exactly_once(folder: Path, count: int, seconds: int, crowds: int) -> list[Row]:
    """In each crowd three die: one between insert and commit, one between create and commit, one anywhere."""
    from tests.bench.schedules.stub import accepted

    pipeline = world.prepare_once()
    world.forget_runs()
    before = set(accepted())
    with fleet(folder, beats=2) as running:
        running.start()
        wait_for_workers(running)
        first = world.next_minute(15)
        times = [first + timedelta(seconds=seconds * n) for n in range(crowds)]
        every = {"kind": "interval", "interval_seconds": seconds, "anchor_at": first, "end_at": times[-1]}
        world.make_schedules(pipeline, count, first=first, prefix="crowd", **every)
        with beside(lambda stop: kill_in_crowds(running, times, seconds, stop)) as killer:
            rows = world.watch(times, count, until=times[-1].timestamp() - time.time() + PATIENCE)["rows"]
            settle(len(before) + count * crowds, PATIENCE)
        kills = killer.result()
    missing, doubled, jobs_doubled = world.exactness(times, count)
    objects = len(set(accepted()) - before)
    lags = world.accepted_lags(times)
    lost = count * crowds - len(lags)
    twice = doubled + jobs_doubled + objects - len(lags)
    told = f"{missing} missing, {twice} doubled, {lost} not accepted"
    exact = not missing and not twice and not lost
    name = f"S3 {count:,} due at once"
    died = f"{len(kills)} kills: " + ", ".join(f"{kills.count(how)} {how}" for how in sorted(set(kills)))
    slowest = f"row {percentile(rows, 100):.1f} s, accepted {percentile(lags, 100):.1f} s"
    return [Row(f"{name}, exactly once", told, "0", died, exact), Row(f"{name}, slowest", slowest, "", load())]


def kill_in_crowds(running: Fleet, times: list[datetime], seconds: int, stop: threading.Event) -> list[str]:
    """Returns how each process died. A death that was armed may come as late as its crowd does."""
    kills: list[str] = []

    def revive() -> None:
        kills.extend("before its commit" if name.startswith("ticker") else "after create" for name in running.revive())

    for at in times:
        sleep_until(at.timestamp() - 0.5, revive)
        for point in deaths.POINTS:
            deaths.arm(point)
        sleep_until(at.timestamp() + random.uniform(0, min(3.0, seconds / 5)), revive)  # noqa: S311
        running.kill(random.choice(list(running.programs)))  # noqa: S311
        kills.append("anywhere")
    while not stop.wait(0.03):
        revive()
    deaths.disarm()
    return kills


def sleep_until(moment: float, meanwhile: Callable[[], object]) -> None:
    """Seconds since the epoch; `meanwhile` is called about thirty times a second."""
    while time.time() < moment:
        meanwhile()
        time.sleep(0.03)


# -- the gap ----------------------------------------------------------------------------------------------------------
def gap(folder: Path, schedulers: int) -> list[Row]:
    """The longest that a due time waited for its row, while a beat or ticker is killed every few seconds."""
    pipeline = world.prepare_once()
    world.forget_runs()
    with fleet(folder, beats=schedulers, tickers=schedulers) as running:
        running.start()
        wait_for_workers(running)
        first = world.next_minute(8)
        every = timedelta(seconds=60 / GAP_SCHEDULES)
        world.make_staggered(pipeline, GAP_SCHEDULES, first=first, every=every, prefix="gap")
        calm_until = first.timestamp() + GAP_KILL_SECONDS
        calm = longest_overdue(first.timestamp(), calm_until)
        with beside(lambda stop: kill_schedulers(running, stop)) as killer:
            longest = longest_overdue(time.time(), calm_until + GAP_SECONDS)
        kills = killer.result()
    bar = GAP_BARS[schedulers]
    told = f"{longest:.2f} s over {len(kills)} kills ({calm:.2f} s before any)"
    return [Row(f"S3 gap, {schedulers} scheduler(s)", told, f"<= {bar:.0f} s", "", longest <= bar)]


def kill_schedulers(running: Fleet, stop: threading.Event) -> list[str]:
    """One at a time, of each kind in turn; it starts again at once. Returns their names."""
    kills: list[str] = []
    while not stop.wait(random.uniform(0, 1)):  # noqa: S311
        kind = SCHEDULER[len(kills) % len(SCHEDULER)]
        name = random.choice([name for name in running.programs if name.startswith(kind)])  # noqa: S311
        running.kill(name)
        kills.append(name)
        stop.wait(GAP_KILL_SECONDS - 1)
    return kills


def longest_overdue(since: float, until: float) -> float:
    """Seconds. A schedule's next time moves on in the transaction that makes the slot, so an old one has no row yet."""
    from django.db import connection

    longest = 0.0
    sleep_until(since, lambda: None)
    with connection.cursor() as cursor:
        while time.time() < until:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp() - min(next_fire_at)) FROM schedules_schedule")
            longest = max(longest, float(cursor.fetchone()[0] or 0))
            time.sleep(0.02)
    return longest
