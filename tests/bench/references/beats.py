"""django-celery-beat and RedBeat: one beat, two workers, a message for each entry each minute.

A slot counts when a worker has consumed its message, within its minute: neither keeps slots, so what comes later than
the next one cannot be told from it.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import redis

from tests.bench.database import database
from tests.bench.references.environment import HERE, NotInstalled, python_of
from tests.bench.table import percentile

QUICK = os.environ.get("QUICK") == "1"
MINUTES = 1 if QUICK else 2
WORKERS, THREADS = 2, 8
SCHEDULERS = {
    "django": ("django-celery-beat", "django_celery_beat.schedulers:DatabaseScheduler"),
    "redbeat": ("RedBeat", "redbeat.RedBeatScheduler"),
}
QUIET = ["--without-gossip", "--without-mingle", "--loglevel", "ERROR"]


@dataclass(frozen=True)
class Found:
    """Of all minutes: seconds from the minute to the consumed message, how many never came, how many came twice."""

    lags: list[float]
    expected: int
    missing: int
    doubled: int


@cache
def told(count: int, recorded: str) -> str:
    """Both of them with so many entries, in a line; what was `recorded` before when they are not to be had."""
    try:
        return "; ".join(f"{SCHEDULERS[kind][0]} {_line(measure(kind, count))}" for kind in SCHEDULERS)
    except NotInstalled as reason:
        return f"{recorded} (before; now {reason})"


@cache
def told_killed(count: int, recorded: str) -> str:
    try:
        return "; ".join(f"{SCHEDULERS[kind][0]} {measure_killed(kind, count)}" for kind in SCHEDULERS)
    except NotInstalled as reason:
        return f"{recorded} (before; now {reason})"


def _line(found: Found) -> str:
    share = 100 * (found.expected - found.missing) / found.expected
    twice = f", {found.doubled} twice" if found.doubled else ""
    return f"p99 {percentile(found.lags, 99):.1f} s, {share:.0f} % sent{twice}"


def measure(kind: str, count: int) -> Found:
    with Reference.running(kind, count) as reference:
        first = reference.first_minute()
        minutes = [first + 60 * n for n in range(MINUTES)]
        time.sleep(max(0.0, minutes[-1] + 59.5 - time.time()))
        return counted(reference.arrivals(), minutes, count)


def counted(arrivals: list[tuple[str, float]], minutes: list[float], count: int) -> Found:
    lags: list[float] = []
    missing = doubled = 0
    for minute in minutes:
        times = [(name, at - minute) for name, at in arrivals if minute <= at < minute + 59.5]
        names = Counter(name for name, _lag in times)
        lags += [lag for _name, lag in times]
        missing += count - len(names)
        doubled += len(times) - len(names)
    return Found(lags, count * len(minutes), missing, doubled)


def measure_killed(kind: str, count: int) -> str:
    """kill -9 of beat when half of a minute's messages have come, and a start at once."""
    with Reference.running(kind, count) as reference:
        minute = reference.first_minute()
        time.sleep(max(0.0, minute - time.time()))
        while len(reference.arrivals()) < count // 2 and time.time() < minute + 50:
            time.sleep(0.01)
        killed_at = time.time()
        reference.kill_beat()
        time.sleep(max(0.0, minute + 59.5 - time.time()))
        arrivals = reference.arrivals()
        found = counted(arrivals, [minute], count)
        after = min((at for _name, at in arrivals if at > killed_at + 0.5), default=None)
        silent = f"next message after {after - killed_at:.1f} s" if after else "no message for the rest of the minute"
        return f"{found.doubled} twice, {found.missing} lost of {count}, {silent}"


class Reference:
    """One of them, running."""

    def __init__(self, kind: str, python: Path, folder: Path, database_url: str) -> None:
        self.kind, self.python, self.folder = kind, python, folder
        self.redis_url = os.environ["CUBE_REDIS_URL"]
        self.prefix = f"{folder.name}:"
        self.client = redis.Redis.from_url(self.redis_url)
        self.environment = {
            "PATH": os.environ["PATH"], "REFERENCE_REDIS": self.redis_url, "REFERENCE_PREFIX": self.prefix,
            "REFERENCE_ARRIVALS": f"{self.prefix}arrivals", "REFERENCE_DATABASE": json.dumps(_settings(database_url)),
        }  # fmt: skip
        self.beat: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    @classmethod
    @contextmanager
    def running(cls, kind: str, count: int) -> Iterator["Reference"]:
        python = python_of("celery")
        with database() as (url, is_postgres), tempfile.TemporaryDirectory(prefix="cube-bench-reference-") as folder:
            if not is_postgres:
                raise NotInstalled("PostgreSQL does not answer")
            made = cls(kind, python, Path(folder), url)
            try:
                made.start(count)
                yield made
            finally:
                made.stop()

    def start(self, count: int) -> None:
        self._run("reference.py", self.kind, str(count)).wait()
        for number in range(WORKERS):
            options = ["--pool", "threads", "--concurrency", str(THREADS), "--hostname", f"r{number}@bench", *QUIET]
            self.workers.append(self._celery("worker", *options))
        self.start_beat()

    def start_beat(self) -> None:
        options = ["--loglevel", "ERROR", "--pidfile", "", "--scheduler", SCHEDULERS[self.kind][1]]
        self.beat = self._celery("beat", *options)

    def kill_beat(self) -> None:
        assert self.beat is not None
        self.beat.send_signal(signal.SIGKILL)
        self.beat.wait()
        self.start_beat()

    def first_minute(self, warm_seconds: float = 15.0) -> float:
        """The next full minute once it has warmed up, in seconds since the epoch; what came earlier is forgotten."""
        minute = (time.time() + warm_seconds) // 60 * 60 + 60
        time.sleep(max(0.0, minute - 2 - time.time()))
        self.client.delete(f"{self.prefix}arrivals")
        return minute

    def arrivals(self) -> list[tuple[str, float]]:
        rows = (row.decode().split() for row in self.client.lrange(f"{self.prefix}arrivals", 0, -1))
        return [(name, float(at)) for name, at in rows]

    def stop(self) -> None:
        for program in [self.beat, *self.workers]:
            if program is not None:
                program.kill()
                program.wait()
        for key in self.client.scan_iter(f"{self.prefix}*", count=1000):
            self.client.delete(key)

    def _celery(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._run("-m", "celery", "--app", "reference", *arguments)

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        output = (self.folder / "log").open("ab")
        command = [str(self.python), *arguments]
        return subprocess.Popen(  # noqa: S603
            command, cwd=HERE / "celery", env=self.environment, stdout=output, stderr=output
        )


def _settings(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql", "NAME": parts.path.strip("/"), "USER": parts.username or "",
        "PASSWORD": parts.password or "", "HOST": parts.hostname or "", "PORT": parts.port or 5432,
    }  # fmt: skip
