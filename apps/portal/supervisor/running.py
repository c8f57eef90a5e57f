"""The loop that keeps everything running."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

import psutil

from .programs import Program, Running, StartFailed

LOOK_EVERY_SECONDS = 0.1
STOP_WITHIN_SECONDS = 9.0


class StopRequested(Exception):
    """Somebody pressed Ctrl-C, or a signal said so, while we were still starting."""


class Supervisor:
    """Starts programs in order and ends them in reverse. Not for threads: children end with theirs."""

    def __init__(
        self, *, folder: Path, logs: Path, children_file: Path, tell: Callable[[str], None], verbose: bool = False
    ) -> None:
        self._folder, self._logs, self._children_file = folder, logs, children_file
        self._tell, self._verbose = tell, verbose
        self._running: list[Running] = []
        self._stop = threading.Event()
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._end_strays()

    # -- signals -----------------------------------------------------------------------------------------------------
    def listen(self) -> None:
        """Ctrl-C and SIGTERM ask to stop; asked twice, everything is killed at once."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup wants us to outlive the terminal
                signal.signal(number, self._asked_to_stop)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            for running in self._running:
                running.signal(signal.SIGKILL)
        self._stop.set()

    def check_stop(self) -> None:
        if self._stop.is_set():
            raise StopRequested

    # -- start -------------------------------------------------------------------------------------------------------
    def start(self, program: Program) -> None:
        self.check_stop()
        self._running.append(Running(program, folder=self._folder, logs=self._logs))
        self._remember_children()

    def wait_until_ready(self, *names: str) -> None:
        """Returns when each of the named programs is ready. Raises StartFailed or StopRequested."""
        begun = time.monotonic()
        waiting = [running for running in self._running if running.program.name in names]
        while waiting:
            self._echo()
            for running in list(waiting):
                program = running.program
                if program.ready():
                    waiting.remove(running)
                elif not running.is_alive:
                    raise StartFailed(f"{program.name} did not start: {running.last_words()} (its log: {running.log})")
                elif time.monotonic() - begun > program.ready_within_seconds:
                    within = f"{program.ready_within_seconds:g} s"
                    raise StartFailed(f"{program.name} was not ready within {within} (its log: {running.log})")
            self.pause(LOOK_EVERY_SECONDS if waiting else 0)

    def pause(self, seconds: float) -> None:
        self._stop.wait(seconds)
        self.check_stop()

    # -- run ---------------------------------------------------------------------------------------------------------
    def run(self, *, each_second: Callable[[], None]) -> None:
        """Until asked to stop: start again what dies, and call `each_second`."""
        next_second = 0.0
        while not self._stop.wait(LOOK_EVERY_SECONDS):
            self._echo()
            dead = [running for running in self._running if not running.is_alive]
            for running in dead:
                if news := running.revive():
                    self._tell(news)
            if dead:
                self._remember_children()
            if time.monotonic() >= next_second:
                each_second()
                next_second = time.monotonic() + 1

    def _echo(self) -> None:
        if self._verbose:
            for running in self._running:
                for line in running.news():
                    self._tell(f"{running.program.name:>14} | {line}")

    # -- stop --------------------------------------------------------------------------------------------------------
    def stop(self) -> None:
        """In reverse order of starting; a group of programs with the same grace is asked together."""
        deadline = time.monotonic() + STOP_WITHIN_SECONDS
        for group in reversed(list(_by_dependence(self._running))):
            for running in reversed(group):
                if running.is_alive:
                    running.signal(signal.SIGTERM)
            grace = min(time.monotonic() + max(r.program.grace_seconds for r in group), deadline)
            while any(running.is_alive for running in group) and time.monotonic() < grace:
                time.sleep(0.05)
            for running in group:
                running.signal(signal.SIGKILL)
                running.process.wait()
        self._running.clear()
        self._children_file.unlink(missing_ok=True)

    # -- strays ------------------------------------------------------------------------------------------------------
    def _remember_children(self) -> None:
        children = []
        for running in self._running:
            try:
                children.append([running.process.pid, psutil.Process(running.process.pid).create_time()])
            except psutil.NoSuchProcess:
                continue
        self._children_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children_file.write_text(json.dumps(children))

    def _end_strays(self) -> None:
        """Children of a supervisor that was killed: gone within a moment by themselves, ended here if not.

        A process id is only believed together with its start time, since ids are used again.
        """
        try:
            remembered = json.loads(self._children_file.read_text())
        except (OSError, ValueError):
            return
        strays = []
        for pid, created in remembered:
            try:
                process = psutil.Process(pid)
                if process.create_time() == created:
                    process.terminate()
                    strays.append(process)
            except psutil.NoSuchProcess:
                continue
        for process in psutil.wait_procs(strays, timeout=5)[1]:
            process.kill()
        psutil.wait_procs(strays, timeout=2)


def _by_dependence(running: Iterable[Running]) -> Iterable[list[Running]]:
    """Neighbours that keep the same grace stop together; those that hold state (longer graces) stop alone, later."""
    group: list[Running] = []
    for one in running:
        if group and group[-1].program.grace_seconds != one.program.grace_seconds:
            yield group
            group = []
        group.append(one)
    if group:
        yield group
