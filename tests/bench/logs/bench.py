"""What every measure is given, and small helpers they share."""

import asyncio
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from tests.bench.logserver.remote import Remote
from tests.bench.table import Row, percentile

from .compare import Verdict
from .cube import Cube
from .viewers import Viewer

QUICK = os.environ.get("QUICK") == "1"
SERVER_CORE, COLLECTOR_CORE = (0, 1) if (os.cpu_count() or 1) > 1 else (None, None)
DICE = random.Random()  # noqa: S311  Other moments every time: a race is found by trying.


def quick(short: float, full: float) -> float:
    return short if QUICK else full


@dataclass
class Bench:
    server: Remote
    cube: Cube
    database: str  # PostgreSQL URL, or empty
    rows: list[Row] = field(default_factory=list)

    def row(self, what: str, measured: str, bar: str = "", reference: str = "", passed: bool | None = None) -> None:
        self.rows.append(Row(what, measured, bar, reference, passed))

    def verdict(self, what: str, verdict: Verdict, reference: str = "", *, passed: bool | None = None) -> None:
        self.row(what, str(verdict), "0 / 0 / 0", reference, verdict.is_exact if passed is None else passed)
        for line in verdict.where[:6]:
            tell(f"  {line}")

    @contextmanager
    def collecting(self, **rules: object) -> Iterator[psutil.Popen]:
        """A fresh log server's rules and a fresh collector; afterwards no pods."""
        self.server.forget()
        self.server.rules(**rules)
        # What an operator tells Cube of the kubelets' configuration.
        self.cube.settings["CUBE_LOG_ROTATION_SECONDS"] = str(rules.get("rotate_every", 10.0))
        self.cube.let_lease_run_out()  # should the one before have been killed
        process = self.cube.start_collector(core=COLLECTOR_CORE)
        try:
            yield process
        finally:
            self.server.stop()
            self.cube.stop("collector")
            self.server.forget()

    def wait_followed(self, number: int, seconds: float = 120) -> float:
        """Until so many follows are open; the seconds it took."""
        begun = time.monotonic()
        while self.server.stats()["follows"] < number:
            if time.monotonic() - begun > seconds:
                raise AssertionError(f"{self.server.stats()['follows']} of {number} follows after {seconds:g} s")
            time.sleep(0.05)
        return time.monotonic() - begun


class Used:
    """Processor seconds of processes since this was made."""

    def __init__(self, *processes: psutil.Process) -> None:
        self._before = {process: _seconds(process) for process in processes}

    def seconds(self) -> float:
        return sum(_seconds(process) - before for process, before in self._before.items())


def _seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def memory_mib(*processes: psutil.Process) -> float:
    return sum(process.memory_info().rss for process in processes) / 2**20


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def in_milliseconds(values: list[float]) -> str:
    return f"p50 {percentile(values, 50):.0f}, p99 {percentile(values, 99):.0f} ms"


async def watched(viewers: list[Viewer], during: Callable[[], Awaitable[None]]) -> None:
    from .viewers import watching

    async with watching(*viewers):
        await during()


def load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def run(work: Awaitable[None]) -> None:
    async def go() -> None:
        await work

    asyncio.run(go())
