"""What to run, and one run of it."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
LOG_LIMIT_BYTES = 10 * 1024 * 1024
MANY_DEATHS, WITHIN_SECONDS = 5, 60.0
LONGEST_PAUSE_SECONDS = 30.0


class StartFailed(Exception):
    """A program ended, or stayed silent, before it was ready. The message is one sentence for the console."""


def at_once() -> bool:
    return True


@dataclass(frozen=True)
class Program:
    """One process. `ready` is asked a few times a second; `grace_seconds` pass between a polite and a final signal."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool] = at_once
    ready_within_seconds: float = 60.0
    grace_seconds: float = 4.0
    orphan_signal: signal.Signals = signal.SIGKILL  # sent when the supervisor itself was killed
    environment: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0  # how much processor time it leaves to the others, 0 to 19


class Running:
    """A program's process, started again after it dies."""

    def __init__(self, program: Program, *, folder: Path, logs: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self._folder = folder
        self._deaths: deque[float] = deque(maxlen=MANY_DEATHS)
        self._again_at = 0.0
        self.echoed = 0
        keep_small(self.log)
        self._start()

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self.echoed = max(self.echoed, log.tell())
            self.process = subprocess.Popen(  # noqa: S603  Our own command line, no shell.
                [
                    *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())),
                    *(str(int(self.program.orphan_signal)), str(self.program.nice), *self.program.command),
                ],
                cwd=self._folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.program.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which ends the others in order.
            )

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def revive(self) -> str:
        """Start again what died, after a pause that doubles with each recent death. Returns what to tell."""
        now = time.monotonic()
        if self._again_at:
            if now >= self._again_at:
                self._again_at = 0.0
                self._start()
            return ""
        code = self.process.returncode
        self.signal(signal.SIGKILL)  # what it may have left in its group
        self._deaths.append(now)
        recent = sum(1 for at in self._deaths if now - at < WITHIN_SECONDS)
        pause = min(2.0 ** (recent - 1) / 2, LONGEST_PAUSE_SECONDS)
        self._again_at = now + pause
        if recent >= MANY_DEATHS:
            return f"{self.program.name} ended {recent} times within a minute; its log says why: {self.log}"
        return f"{self.program.name} ended ({meaning(code)}); starting it again in {pause:g} s."

    def signal(self, number: signal.Signals) -> None:
        """To the whole process group, so that nothing it started stays behind."""
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def last_words(self) -> str:
        """The last line of its log, for a failed start."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][-300:] if lines else "it wrote nothing"

    def news(self) -> list[str]:
        """Whole lines written to the log since the last call."""
        with self.log.open("rb") as log:
            log.seek(self.echoed)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.echoed += len(whole)
        return whole.decode(errors="replace").splitlines()


def keep_small(log: Path) -> None:
    """Move a log that grew past 10 MB aside; one older copy is kept."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def meaning(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit {code}"
