"""S1 burst, S2 base: real processes, PostgreSQL, a stub API. What else goes on beside them is in `beside.py`."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.bench.references import beats, dagruns
from tests.bench.schedules import world
from tests.bench.schedules.fleet import THREADS, WORKERS, fleet, load, wait_for_workers
from tests.bench.table import Row, percentile

QUICK = os.environ.get("QUICK") == "1"
S1_COUNT, S2_COUNT = (1500, 300) if QUICK else (10_000, 1_000)
MINUTES = int(os.environ.get("MINUTES", "1" if QUICK else "3"))
# What was measured before, on two cores with the same schedules: told where the references cannot be measured now.
BEATS = {
    "S1": "django-celery-beat sends 6-9 %; RedBeat p99 11.6-13.0 s",
    "S2": "django-celery-beat p99 13.6 s; RedBeat 1.6 s",
}
AIRFLOW = "Airflow p99 168 s and growing"


def measure(
    folder: Path,
    count: int,
    *,
    during: Callable[[threading.Event], object] | None = None,
    others: int = 0,
    patience: float = 40.0,
) -> dict[str, object]:
    """Schedules due each minute for some minutes: lags and exactness.

    `during` runs beside it, in a thread, until its event is set; `others` is how many jobs it has accepted itself.
    """
    pipeline = world.prepare_once()
    taken = sum(1 for _entry in os.scandir(os.environ["CUBE_BENCH_STUB"]))
    with fleet(folder) as running:
        running.start()
        wait_for_workers(running)
        first = world.next_minute(20 if count > 2000 else 12)
        minutes = [first + timedelta(minutes=n) for n in range(MINUTES)]
        world.make_due(pipeline, count, first=first, last=minutes[-1])
        idle = running.processor_seconds()
        with beside(during) as found:
            until = minutes[-1].timestamp() - time.time() + patience
            rows = world.watch(minutes, count, until=until)["rows"]
            settle(taken + others + count * len(minutes), patience)
        used = running.processor_seconds()
    missing, doubled, jobs_doubled = world.exactness(minutes, count)
    return {
        "rows": rows, "accepted": world.accepted_lags(minutes), "missing": missing, "doubled": doubled + jobs_doubled,
        "expected": count * len(minutes), "machine": f"{load()}, {WORKERS} workers of {THREADS} threads",
        "used": sum(seconds - idle.get(name, 0.0) for name, seconds in used.items()),
        "beside": found.result() if found else None, "minutes": minutes,
    }  # fmt: skip


@contextmanager
def beside(work: Callable[[threading.Event], Any] | None) -> Iterator[Any]:
    """Run `work` in a thread, and tell it to end. Gives its future: what it raises is raised by the result."""
    if work is None:
        yield None
        return
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(work, stop)
        finally:
            stop.set()


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
    found = measure(folder, S1_COUNT)
    return judged("S1", found, 1.5, 15.0, beats.told(S1_COUNT, BEATS["S1"]))


def s2(folder: Path) -> list[Row]:
    """A thousand schedules, each due every minute."""
    found = measure(folder, S2_COUNT)
    rows = judged("S2", found, 0.5, 2.0, beats.told(S2_COUNT, BEATS["S2"]))
    return [*rows, Row("S2 slot -> run row, Airflow", "", "", dagruns.told(S2_COUNT, AIRFLOW))]
