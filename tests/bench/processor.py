"""Processor time of each part of a running Cube, also of processes that were killed on the way.

Rates depend on what else the machine does; processor time much less, so it is what two versions are compared by.
"""

import threading
from collections import defaultdict
from types import TracebackType

import psutil

from tests.journeys import running

LOOK_EVERY_SECONDS = 0.25
PARTS = {  # what a command line holds -> the part it is
    "cube.serve": "web",
    " worker ": "worker",
    " beat ": "beat",
    "watch_cluster": "watch_cluster",
    "collect_logs": "collect_logs",
    "apps.devcluster": "devcluster",
    "valkey": "valkey",
}


class Processor:
    """While the block runs, the processor seconds of every part; the database's only where it is a local PostgreSQL."""

    def __init__(self, cube: running.Cube) -> None:
        self._supervisor = psutil.Process(cube.process.pid)
        self._database = cube.settings.get("CUBE_DATABASE_URL", "").rpartition("/")[2]
        self._first: dict[psutil.Process, float] = {}
        self._last: dict[psutil.Process, tuple[str, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Processor":
        self._look(is_first=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def by_part(self) -> dict[str, float]:
        """Seconds since the block began, up to the last look."""
        seconds: dict[str, float] = defaultdict(float)
        for process, (part, last) in dict(self._last).items():
            seconds[part] += last - self._first[process]
        return dict(seconds)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY_SECONDS):
            self._look()

    def _look(self, *, is_first: bool = False) -> None:
        for process in [*self._supervisor.children(), *self._backends()]:
            try:
                used = process.cpu_times()
                if process not in self._last:
                    self._first[process] = used.user + used.system if is_first else 0.0
                    self._last[process] = (self._part(process), 0.0)
                self._last[process] = (self._last[process][0], used.user + used.system)
            except psutil.Error:
                continue

    def _part(self, process: psutil.Process) -> str:
        command = f" {' '.join(process.cmdline())} "
        return next((part for words, part in PARTS.items() if words in command), "postgres")

    def _backends(self) -> list[psutil.Process]:
        if not self._database.startswith("cube_bench"):
            return []
        wanted = f" {self._database} "  # PostgreSQL writes the database's name into its command line
        return [p for p in psutil.process_iter(["cmdline"]) if wanted in " ".join(p.info["cmdline"] or [])]
