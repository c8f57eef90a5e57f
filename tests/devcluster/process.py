"""A devcluster as its own process, and the few verbs the stories need."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from apps.devcluster.client import JOBS, PODS, ApiError, Client, Object, Resource

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 40.0


class Cluster:
    """The process and a client of it."""

    def __init__(self, data_dir: Path, *options: str, before: Sequence[str] = ()) -> None:
        self.data_dir, self._options, self._before = data_dir, options, before
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "apps.devcluster", "start", "--data-dir", str(self.data_dir)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO")}
        self.process = subprocess.Popen(  # noqa: S603 our own program
            [*self._before, *command, *self._options], cwd=ROOT, stdout=subprocess.PIPE, env=environment, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the devcluster ended before it was ready"
        self.ready = json.loads(line)

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(15)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def do(self, method: str, *arguments: Any, **options: Any) -> Any:
        """One call of the asynchronous client."""

        async def call() -> Any:
            client = Client(str(self.data_dir / "api.sock"), "inside")
            try:
                return await getattr(client, method)(*arguments, **options)
            finally:
                await client.close()

        return asyncio.run(call())

    def wait(self, what: Callable[[], Any], seconds: float = DEADLINE) -> Any:
        """Until `what` gives something true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if answer := what():
                return answer
            time.sleep(0.1)
        pytest.fail("this did not come true in time")

    def get(self, resource: Resource, name: str) -> Object | None:
        try:
            return self.do("get", resource, "test", name)
        except ApiError as error:
            if error.missing:
                return None
            raise

    def pods(self, job: str | None = None) -> list[Object]:
        selector = {"labelSelector": f"job-name={job}"} if job else {}
        return self.do("list", PODS, "test", **selector)[0]

    def submit(self, name: str, command: list[str], **spec: Any) -> None:
        """Create a Job of one container; `container`, `pod` and Job fields may be given."""
        container = {"name": "main", "image": "anything", "command": command, **spec.pop("container", {})}
        pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [container]}
        template = {"spec": pod | spec.pop("pod", {})}
        body = {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template, **spec}}
        self.do("create", JOBS, "test", body)

    def finished(self, name: str, seconds: float = DEADLINE) -> Object:
        """The Job once it is Complete or Failed."""

        def over() -> Object | None:
            job = self.get(JOBS, name)
            conditions = ((job or {}).get("status") or {}).get("conditions") or []
            done = any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)
            return job if done else None

        return self.wait(over, seconds)

    def log(self, pod: str) -> bytes:
        """The whole log, over the API."""
        import aiohttp

        async def read() -> bytes:
            connector = aiohttp.UnixConnector(path=str(self.data_dir / "api.sock"))
            async with aiohttp.ClientSession(connector=connector) as session:
                path = f"http://devcluster{PODS.path('test', pod, 'log')}"
                async with session.get(path) as response:
                    return await response.read()

        return asyncio.run(read())


def state(pod: Object) -> dict[str, Any]:
    """The terminated state of the pod's first container."""
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]
