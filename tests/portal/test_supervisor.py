"""Real processes: a supervisor is only honest about what it really ends."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from apps.portal.supervisor import AlreadyRunning, Program, StartFailed, Supervisor, only_one
from apps.portal.supervisor.programs import LOG_LIMIT_BYTES

SLEEPER = (sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)")
STUBBORN = (
    *(sys.executable, "-c"),
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)",
)


@pytest.fixture
def told():
    return []


@pytest.fixture
def supervisor(tmp_path, told):
    made = Supervisor(
        folder=tmp_path, logs=tmp_path / "logs", children_file=tmp_path / "run" / "children.json", tell=told.append
    )
    yield made
    made.stop()


def pid_of(supervisor, name):
    return next(running.process.pid for running in supervisor._running if running.program.name == name)


def until(question, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Clock:
    """Ends `run` after a condition holds."""

    def __init__(self, supervisor, done):
        self.supervisor, self.done = supervisor, done
        self.deadline = time.monotonic() + 15

    def __call__(self):
        if self.done() or time.monotonic() > self.deadline:
            self.supervisor._stop.set()


class TestStart:
    def test_waits_until_the_program_is_ready(self, supervisor, tmp_path):
        mark = tmp_path / "mark"
        code = f"import time, pathlib; time.sleep(0.3); pathlib.Path({str(mark)!r}).touch(); time.sleep(60)"
        supervisor.start(Program(name="slow", command=(sys.executable, "-c", code), ready=mark.exists))

        supervisor.wait_until_ready("slow")

        assert mark.exists()

    def test_a_program_that_ends_is_told_with_its_last_line(self, supervisor):
        failing = (sys.executable, "-c", "import sys; print('first'); sys.exit('no such table')")
        supervisor.start(Program(name="broken", command=failing, ready=lambda: False))

        with pytest.raises(StartFailed, match=r"broken did not start: no such table \(its log: .*broken\.log\)"):
            supervisor.wait_until_ready("broken")

    def test_a_silent_program_is_told_too(self, supervisor):
        supervisor.start(Program(name="mute", command=SLEEPER, ready=lambda: False, ready_within_seconds=0.3))

        with pytest.raises(StartFailed, match=r"mute was not ready within 0\.3 s"):
            supervisor.wait_until_ready("mute")

    def test_a_large_log_is_moved_aside(self, supervisor, tmp_path):
        log = tmp_path / "logs" / "one.log"
        log.write_bytes(b"x" * (LOG_LIMIT_BYTES + 1))

        supervisor.start(Program(name="one", command=SLEEPER))

        assert log.with_name("one.log.1").stat().st_size == LOG_LIMIT_BYTES + 1
        assert log.stat().st_size < 100


class TestRun:
    def test_starts_again_what_was_killed(self, supervisor, told):
        supervisor.start(Program(name="one", command=SLEEPER))
        first = pid_of(supervisor, "one")
        os.kill(first, signal.SIGKILL)

        supervisor.run(each_second=Clock(supervisor, lambda: pid_of(supervisor, "one") != first))

        assert told == ["one ended (signal SIGKILL); starting it again in 0.5 s."]
        assert not is_gone(pid_of(supervisor, "one"))

    def test_pauses_grow_and_many_deaths_point_to_the_log(self, supervisor, told, monkeypatch):
        supervisor.start(Program(name="weak", command=(sys.executable, "-c", "raise SystemExit(7)")))
        monkeypatch.setattr("apps.portal.supervisor.programs.LONGEST_PAUSE_SECONDS", 0.1)

        supervisor.run(each_second=Clock(supervisor, lambda: len(told) >= 5))

        assert told[0] == "weak ended (exit 7); starting it again in 0.1 s."
        assert told[4].startswith("weak ended 5 times within a minute; its log says why: ")

    def test_echoes_whole_lines_when_asked(self, tmp_path, told):
        loud = Supervisor(folder=tmp_path, logs=tmp_path, children_file=tmp_path / "c", tell=told.append, verbose=True)
        loud.start(Program(name="one", command=SLEEPER))

        loud.run(each_second=Clock(loud, lambda: told))
        loud.stop()

        assert told == ["           one | here"]


class TestStop:
    def test_ends_in_reverse_order_and_kills_what_refuses(self, supervisor):
        supervisor.start(Program(name="base", command=SLEEPER, grace_seconds=2))
        supervisor.start(Program(name="stubborn", command=STUBBORN, grace_seconds=0.3))
        until(lambda: all("here" in running.log.read_text() for running in supervisor._running))
        pids = [running.process.pid for running in supervisor._running]
        begun = time.monotonic()

        supervisor.stop()

        assert all(is_gone(pid) for pid in pids)
        assert 0.3 <= time.monotonic() - begun < 2

    def test_ends_what_a_program_started_itself(self, supervisor, tmp_path):
        note = tmp_path / "grandchild"
        code = (
            "import subprocess, sys, time, pathlib\n"
            f"child = subprocess.Popen({list(SLEEPER)!r}, stdout=subprocess.DEVNULL)\n"
            f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
            "time.sleep(600)"
        )
        supervisor.start(Program(name="parent", command=(sys.executable, "-c", code)))
        grandchild = int(until(lambda: note.exists() and note.read_text()))

        supervisor.stop()

        until(lambda: is_gone(grandchild))

    def test_a_killed_supervisor_leaves_no_child(self, tmp_path):
        script = textwrap.dedent(
            f"""
            from pathlib import Path
            from apps.portal.supervisor import Program, Supervisor
            here = Path({str(tmp_path)!r})
            supervisor = Supervisor(folder=here, logs=here, children_file=here / "children.json", tell=print)
            supervisor.start(Program(name="one", command={STUBBORN!r}))
            supervisor.start(Program(name="two", command={STUBBORN!r}))
            supervisor.run(each_second=lambda: None)
            """
        )
        parent = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", script], cwd=Path(__file__).parents[2]
        )
        children = until(lambda: len(found := psutil.Process(parent.pid).children()) == 2 and found)
        until(lambda: all("here" in (tmp_path / f"{name}.log").read_text() for name in ("one", "two")))

        parent.kill()
        parent.wait()

        for child in children:
            until(lambda child=child: is_gone(child.pid))

    def test_strays_of_an_earlier_supervisor_are_ended(self, tmp_path):
        stray = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL)  # noqa: S603
        remembered = tmp_path / "children.json"
        other = os.getpid()  # Same id, another start time: an innocent process.
        remembered.write_text(json.dumps([[stray.pid, psutil.Process(stray.pid).create_time()], [other, 1.0]]))

        Supervisor(folder=tmp_path, logs=tmp_path, children_file=remembered, tell=print)

        assert is_gone(stray.pid)


class TestOnlyOne:
    def test_a_second_holder_reads_the_note_of_the_first(self, tmp_path):
        lock = tmp_path / "run" / "up.lock"

        with (
            only_one(lock, note="http://127.0.0.1:8000"),
            pytest.raises(AlreadyRunning) as refusal,
            only_one(lock, note="other"),
        ):
            pass

        assert refusal.value.note == "http://127.0.0.1:8000"

    def test_what_was_let_go_can_be_held_again(self, tmp_path):
        lock = tmp_path / "up.lock"
        with only_one(lock, note="one"):
            pass

        with only_one(lock, note="two"):
            assert lock.read_text() == "two"
