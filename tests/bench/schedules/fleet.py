"""Cube's processes as they run in production, started and killed by the benchmark: beat, ticker, workers."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

QUIET = ["--without-gossip", "--without-mingle", "--loglevel", "ERROR"]
TICKERS = 2
WORKERS = 2
THREADS = 8


class Fleet:
    def __init__(self, folder: Path, *, beats: int = 1, tickers: int = TICKERS) -> None:
        self.folder = folder
        self.beats, self.tickers = beats, tickers
        self.programs: dict[str, subprocess.Popen[bytes]] = {}

    def commands(self) -> dict[str, list[str]]:
        threads = ["--pool", "threads", "--concurrency"]
        made = {}
        for number in range(self.beats):
            table = str(self.folder / f"beat-{number}")
            made[f"beat-{number}"] = ["beat", "--loglevel", "ERROR", "--schedule", table, "--pidfile", ""]
        for number in range(self.tickers):
            ticker = ["worker", *threads, "2", "--queues", "ticks", "--hostname", f"t{number}@bench", *QUIET]
            made[f"ticker-{number}"] = ticker
        for number in range(WORKERS):
            made[f"worker-{number}"] = ["worker", *threads, str(THREADS), "--hostname", f"w{number}@bench", *QUIET]
        return made

    def start(self, *names: str) -> None:
        for name, command in self.commands().items():
            if not names or name in names:
                output = (self.folder / f"{name}.log").open("ab")
                first = ["nice", "-n", "10"] if name.startswith("worker") else []  # as laptop mode starts them
                whole = [*first, sys.executable, "-m", "celery", "--app", "cube.celery", *command]
                self.programs[name] = subprocess.Popen(whole, stdout=output, stderr=output)  # noqa: S603

    def processor_seconds(self) -> dict[str, float]:
        """What each process that runs now has used of the processor so far, by its name."""
        alive = {name: program for name, program in self.programs.items() if program.poll() is None}
        used = {name: psutil.Process(program.pid).cpu_times() for name, program in alive.items()}
        return {name: times.user + times.system for name, times in used.items()}

    def kill(self, name: str) -> None:
        """kill -9 of a process, which starts again at once."""
        self.programs[name].kill()
        self.programs[name].wait()
        self.start(name)

    def revive(self) -> list[str]:
        """Start those again that have died by themselves. Returns their names."""
        died = [name for name, program in self.programs.items() if program.poll() is not None]
        if died:
            self.start(*died)
        return died

    def stop(self) -> None:
        for program in self.programs.values():
            program.kill()
        for program in self.programs.values():
            program.wait()
        self.programs.clear()


@contextmanager
def fleet(folder: Path, *, beats: int = 1, tickers: int = TICKERS) -> Iterator[Fleet]:
    made = Fleet(folder, beats=beats, tickers=tickers)
    try:
        yield made
    finally:
        made.stop()


def wait_for_workers(running: Fleet, seconds: float = 240) -> None:
    """Until all of them answer. Raises TimeoutError."""
    from celery import current_app

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if len(current_app.control.ping(timeout=1.0)) == WORKERS + running.tickers:
            return
    raise TimeoutError("the workers did not start")


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"
