"""Airflow with its defaults, a DAG processor, a scheduler, PostgreSQL. Its tasks do nothing, and need no executor."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import psycopg

from tests.bench.database import database
from tests.bench.references.environment import HERE, NotInstalled, python_of
from tests.bench.table import percentile

QUICK = os.environ.get("QUICK") == "1"
MINUTES = 2
PARSE_SECONDS = 240
STUCK_SECONDS = 180
DAGS = HERE / "airflow"
LIVE = "SELECT count(*) FROM dag_run WHERE logical_date = %s AND dag_id ~ '^s[0-9]+$'"


@dataclass(frozen=True)
class Airflow:
    python: Path
    folder: Path
    environment: dict[str, str]
    rows: psycopg.Connection

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        output = (self.folder / "log").open("ab")
        command = [str(self.python), *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=output, stderr=output)  # noqa: S603

    def ask(self, query: str, *values: object) -> list[tuple]:
        return self.rows.execute(query, values).fetchall()  # type: ignore[arg-type]

    def wait(self, query: str, wanted: int, *values: object, seconds: float) -> bool:
        """Until this count is reached."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.ask(query, *values)[0][0] >= wanted:
                return True
            time.sleep(0.5)
        return False


@contextmanager
def airflow(**dags: int) -> Iterator[Airflow]:
    """Airflow with these DAGs (see airflow/bench.py), parsed and unpaused. Raises NotInstalled."""
    if QUICK:
        raise NotInstalled("QUICK=1 leaves Airflow out")
    python = python_of("airflow")
    with database() as (url, is_postgres), tempfile.TemporaryDirectory(prefix="cube-bench-airflow-") as name:
        if not is_postgres:
            raise NotInstalled("PostgreSQL does not answer")
        with psycopg.connect(url, autocommit=True) as rows:
            made = Airflow(python, Path(name), _environment(python, Path(name), url, dags), rows)
            if made.run("-m", "airflow", "db", "migrate").wait():
                raise NotInstalled("airflow db migrate did not end well")
            programs = [made.run("-m", "airflow", "dag-processor")]
            try:
                expected = dags.get("count", 0) + sum(1 for name in ("filled", "wide", "chain") if dags.get(name))
                if not made.wait("SELECT count(*) FROM serialized_dag", expected, seconds=PARSE_SECONDS):
                    raise NotInstalled(f"DAGs not parsed within {PARSE_SECONDS} s")
                programs.append(made.run("-m", "airflow", "scheduler"))
                yield made
            finally:
                for program in programs:
                    program.terminate()
                for program in programs:
                    _end(program)


def _end(program: subprocess.Popen[bytes]) -> None:
    try:
        program.wait(20)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _environment(python: Path, folder: Path, url: str, dags: dict[str, int]) -> dict[str, str]:
    return {
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url.replace("postgres://", "postgresql+psycopg2://", 1),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        **{f"REFERENCE_{name.upper()}": str(value) for name, value in dags.items()},
    }


# -- S2 ---------------------------------------------------------------------------------------------------------------
@cache
def told(count: int, recorded: str) -> str:
    """Run rows of so many DAGs that are due each minute."""
    try:
        with airflow(count=count) as running:
            lags, late = watched(running, count)
    except NotInstalled as reason:
        return f"{recorded} (before; now {reason})"
    return told_lags(lags, late)


def told_lags(lags: list[float], late: list[float]) -> str:
    told = f"Airflow p99 {percentile(lags + late, 99):.0f} s"
    return f"{told}, {100 * len(lags) / (len(lags) + len(late)):.0f} % of rows made by then" if late else told


def watched(running: Airflow, count: int) -> tuple[list[float], list[float]]:
    """Seconds from each minute to its run rows; and for those not made a minute after the last, how late they are."""
    first = (time.time() + 20) // 60 * 60 + 60
    minutes = [first + 60 * n for n in range(MINUTES)]
    seen, lags = dict.fromkeys(minutes, 0), []
    end = minutes[-1] + 60
    while time.time() < end and any(made < count for made in seen.values()):
        for minute in (minute for minute, made in seen.items() if made < count and minute < time.time()):
            made = running.ask(LIVE, datetime.fromtimestamp(minute, UTC))[0][0]
            lags += [time.time() - minute] * (made - seen[minute])
            seen[minute] = made
        time.sleep(0.05)
    return lags, [time.time() - minute for minute, made in seen.items() for _row in range(count - made)]


# -- S10 --------------------------------------------------------------------------------------------------------------
def told_backfill(count: int, filled: int, cap: int, recorded: str) -> str:
    """The same beside a backfill of another DAG, which starts just before."""
    try:
        with airflow(count=count, filled=1) as running:
            last = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
            span = ["--from-date", (last - timedelta(minutes=filled - 1)).isoformat(), "--to-date", last.isoformat()]
            asked = ["backfill", "create", "--dag-id", "filled", *span, "--max-active-runs", str(cap)]
            if running.run("-m", "airflow", *asked).wait():
                raise NotInstalled("airflow backfill create did not end well")
            lags, late = watched(running, count)
            ended = (
                "SELECT count(*) FROM dag_run WHERE dag_id = 'filled' AND run_type = 'backfill' AND state = 'success'"
            )
            done = running.ask(ended)[0][0]
    except NotInstalled as reason:
        return f"{recorded} (before; now {reason})"
    return f"{told_lags(lags, late)}; {done} of {filled} filled"


# -- S7 ---------------------------------------------------------------------------------------------------------------
def told_rates(wide: int, chains: int, length: int, recorded: str) -> tuple[str, str]:
    """Tasks a second of one wide run, and of chains at once."""
    try:
        with airflow(wide=wide, chain=length) as running:
            return rate(running, "wide", 1, wide), rate(running, "chain", chains, length)
    except NotInstalled as reason:
        return (f"{recorded} (before; now {reason})",) * 2


def rate(running: Airflow, dag: str, runs: int, tasks: int) -> str:
    """From the first start to the last end, or to when it is given up."""
    running.run(str(DAGS / "trigger.py"), dag, str(runs)).wait()
    ended = "SELECT count(*) FROM task_instance WHERE dag_id = %s AND state = 'success'"
    running.wait(ended, runs * tasks, dag, seconds=STUCK_SECONDS)
    query = "SELECT count(*), extract(epoch FROM max(t.end_date) - min(r.start_date))"
    join = "FROM task_instance t JOIN dag_run r USING (dag_id, run_id) WHERE t.dag_id = %s AND t.state = 'success'"
    done, seconds = running.ask(f"{query} {join}", dag)[0]
    return f"Airflow {done / float(seconds or 1):.0f} tasks/s ({done:,} of {runs * tasks:,} in {seconds or 0:.0f} s)"
