"""A log server in a process of its own, driven from here."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
import requests

ROOT = Path(__file__).resolve().parents[3]


class Remote:
    """`server.pods(…)`, `server.write(…)`: each verb of `Control`, by keyword."""

    def __init__(self, url: str, process: psutil.Popen) -> None:
        self.url, self.process = url, process
        self._session = requests.Session()
        self._session.trust_env = False

    def __getattr__(self, verb: str) -> Any:
        def call(**arguments: Any) -> Any:
            answer = self._session.post(f"{self.url}/bench/{verb}", data=orjson.dumps(arguments), timeout=120)
            if answer.status_code != 200:
                raise RuntimeError(f"{verb}: {answer.text}")
            is_json = answer.headers["Content-Type"].startswith("application/json")
            return orjson.loads(answer.content) if is_json else answer.content

        return call

    def kubeconfig(self, namespace: str = "default") -> str:
        context = {"cluster": "bench", "user": "bench", "namespace": namespace}
        return orjson.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "bench",
                "clusters": [{"name": "bench", "cluster": {"server": self.url}}],
                "contexts": [{"name": "bench", "context": context}],
                "users": [{"name": "bench", "user": {"token": "bench"}}],
            }
        ).decode()


@contextmanager
def log_server(*, core: int | None = None) -> Iterator[Remote]:
    """Running; on one processor core of its own when told which."""
    process = psutil.Popen([sys.executable, "-m", "tests.bench.logserver"], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        if core is not None and hasattr(process, "cpu_affinity"):
            process.cpu_affinity([core])
        yield Remote(process.stdout.readline().decode().strip(), process)
    finally:
        process.kill()
        process.wait()
