"""What others do with the same log server in the same run. Small, and said plainly what each is.

- `kubectl logs -f`, started again from the last time stamp it printed whenever it ends: what a script, and Airflow, do.
- A stand-in of AWX's design, built from its documentation: `awx_design`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.bench.logserver.remote import Remote

from .compare import Stored, Verdict, compare

KUBECTL = str(Path(sys.executable).parent / "kubectl")


@contextlib.contextmanager
def kubeconfig(server: Remote, namespace: str) -> Iterator[dict[str, str]]:
    """An environment in which kubectl speaks to the log server."""
    with tempfile.TemporaryDirectory(prefix="cube-bench-") as folder:
        path = Path(folder) / "kubeconfig"
        path.write_text(server.kubeconfig(namespace))
        yield {**os.environ, "KUBECONFIG": str(path), "HOME": folder}


class KubectlLoop:
    """`kubectl logs -f --timestamps` of one pod, again with `--since-time` of its last line whenever it has ended."""

    def __init__(self, server: Remote, pod: str, environment: dict[str, str]) -> None:
        self._server, self._pod, self._environment = server, pod, environment
        self.lines: list[bytes] = []
        self._over = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over:
            since = [f"--since-time={self.lines[-1][:30].decode()}"] if self.lines else []
            command = [KUBECTL, "logs", "-f", "--timestamps", *since, self._pod]
            self._process = subprocess.Popen(  # noqa: S603
                command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            stream = self._process.stdout
            if stream is not None:
                # A line without its end is torn: it will come again.
                self.lines += [line[:-1] for line in stream if line.endswith(b"\n")]
            self._process.wait()
            time.sleep(0.2)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def stand_still(self, seconds: float) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            time.sleep(seconds)
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._over = True
        self.kill()
        self._thread.join(5)

    def verdict(self) -> Verdict:
        """What it printed so far against the oracle."""
        run = self._server.oracle(pods=[self._pod])[-1]
        written = self._server.written(uid=run["uid"], container=run["container"], restart=run["restart"])
        self.close()
        stored = [Stored(b" ", line) for line in self.lines]
        return compare(written.split(b"\n")[:-1], stored, name="kubectl")


@contextlib.contextmanager
def kubectl_loop(server: Remote, namespace: str, pod: str) -> Iterator[KubectlLoop]:
    with kubeconfig(server, namespace) as environment:
        loop = KubectlLoop(server, pod, environment)
        try:
            yield loop
        finally:
            loop.close()


class Kubectl:
    """One `kubectl logs -f` of many pods by label, into a pipe read here: lines counted, latencies taken."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        command = [KUBECTL, "logs", "-f", *arguments]
        self.process = psutil.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.lines = 0
        self.latencies: list[float] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        from .viewers import WRITTEN

        descriptor = self.process.stdout.fileno()
        while data := os.read(descriptor, 1 << 20):
            now = time.time_ns()
            self.lines += data.count(b"\n")
            if len(self.latencies) < 500_000:
                self.latencies += [(now - int(found)) / 1e6 for found in WRITTEN.findall(data[-20_000:])]

    def stop(self) -> float:
        """End it; the processor seconds it used."""
        used = self.process.cpu_times()
        self.process.kill()
        self.process.wait()
        self._thread.join(5)
        return float(used.user + used.system)


def awx_told(bench: Any, job: str, *, pods: int, rate: float, seconds: float, cut_every: float = 0.0) -> str:
    """A sentence on what AWX's design does with such a job, measured now; why not, where it cannot run."""
    from . import awx_design

    if not bench.database:
        return "AWX's design needs PostgreSQL"
    found = awx_design.measure(bench, job, pods=pods, rate=rate, seconds=seconds, cut_every=cut_every)
    return f"AWX's design: {found}"
