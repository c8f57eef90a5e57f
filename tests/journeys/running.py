"""A real Cube for journeys and benchmarks: `manage.py up` in a folder and on a port of its own."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
FINISHED = {"succeeded", "failed", "stopped"}
# Ends at once when it is asked to; a plain `sleep` as a container's first process would take the whole grace period.
SLEEPER = "trap 'exit 0' TERM; sleep 600 & wait"
LIMITS = {"cpu": "50m~1", "memory": "32Mi~256Mi"}


@dataclass
class Cube:
    url: str
    data: Path
    process: subprocess.Popen[bytes]
    console: Path
    settings: dict[str, str] = field(default_factory=dict)  # what else its environment holds
    more_passwords: dict[str, str] = field(default_factory=dict)  # of people the tests add

    @property
    def passwords(self) -> dict[str, str]:
        seeded = json.loads((self.data / "demo.json").read_text())["users"]
        return {user["username"]: user["password"] for user in seeded} | self.more_passwords

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment(), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def environment(self) -> dict[str, str]:
        return environment(data=self.data, **self.settings)

    def api(self, username: str) -> "Api":
        return Api(self.url, self.manage("create_token", username))

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def child(self, *words: str) -> psutil.Process:
        """The first child whose command line holds all the words. Raises StopIteration when there is none."""
        return next(iter(self.children_named(*words)))

    def children_named(self, *words: str) -> list[psutil.Process]:
        return [child for child in self.children() if all(word in command_of(child) for word in words)]


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it has just died
        return ""


class Api:
    """The REST API as one person, through requests."""

    def __init__(self, url: str, token: str) -> None:
        self.base = f"{url}/api/v1"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.session.get(f"{self.base}{path}", params=query, timeout=30)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        return self.session.post(f"{self.base}{path}", json=body or {}, timeout=30)

    def submit(self, name: str, command: str, **more: Any) -> dict[str, Any]:
        """A job of the template `command`; asserts that it was accepted."""
        answer = self.post("/projects/demo/jobs/", command_job(name, command, **more))
        assert answer.status_code == 201, answer.text
        return answer.json()

    def job(self, uid: str) -> dict[str, Any]:
        answer = self.get(f"/jobs/{uid}/")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for(self, uid: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            job = self.job(uid)
            if job["status"] in statuses:
                return job
            if time.monotonic() > deadline or job["status"] in FINISHED:
                raise AssertionError(f"{job['name']} is {job['status']} ({job.get('message')}), not {statuses}")
            time.sleep(0.2)


def command_job(name: str, command: str, **more: Any) -> dict[str, Any]:
    params = {"image": "python:3.11-slim", "command": command}
    return {"name": name, "template": "command", "params": params, "resources": LIMITS, **more}


def free_port() -> int:
    with socket.socket() as any_free:
        any_free.bind(("127.0.0.1", 0))
        return int(any_free.getsockname()[1])


def environment(*, data: Path, **more: str) -> dict[str, str]:
    """Ours without what would point Cube at other servers or at the settings of the test suite."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CUBE_") and k != "DJANGO_SETTINGS_MODULE"}
    return {**inherited, "CUBE_DATA_DIR": str(data), **more}


def start(data: Path, *, port: int | None = None, **more: str) -> Cube:
    """Start and do not wait. The console goes to `<data>/../<name>.console`."""
    data.parent.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    console = data.with_name(data.name + ".console")
    with console.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env=environment(data=data, CUBE_PORT=str(port), **more),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Signals meant for the test run, as a closed terminal's, are not meant for it.
            preexec_fn=settle_in,
        )
    return Cube(f"http://127.0.0.1:{port}", data, process, console, settings=more)


def settle_in() -> None:
    """Before `up` begins. A shell that starts the tests in the background makes them, and so us, deaf to Ctrl-C.

    And whoever kills the tests ends Cube too (Linux tells us when the thread that started us ends, so start Cube from
    the main one).
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """The condition's first true value."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.1)
    return found


def wait_until_told(cube: Cube, text: str, seconds: float = 90) -> str:
    deadline = time.monotonic() + seconds
    while text not in (said := cube.console.read_text()):
        if cube.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"`up` never said {text!r}:\n{said}")
        time.sleep(0.1)
    return said


def stop(cube: Cube, *, seconds: float = 12) -> int:
    if cube.process.poll() is None:
        cube.process.send_signal(signal.SIGINT)
    return cube.process.wait(timeout=seconds)


@contextmanager
def running(data: Path, **more: str) -> Iterator[Cube]:
    cube = start(data, **more)
    try:
        wait_until_told(cube, "Cube is ready")
        yield cube
    finally:
        try:
            stop(cube)
        finally:
            cube.process.kill()
