"""`make bench-schedules`: S1 to S6 and S8 to S12, each in a database of its own. S7 is `make bench-dags`.

Real processes (beat, two tickers, two workers) against PostgreSQL and an API stub of ten milliseconds; exactness
without processes. QUICK=1: little of each; ONLY=S1,S5. References run beside them, in environments of their own that
pip makes in var/bench (QUICK=1: without Airflow; REFERENCES=0: none, what was measured before is told).
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

from tests.bench.database import database
from tests.bench.schedules.services import redis_server
from tests.bench.table import Row, report

SCENARIOS = ("S1", "S2", "S3", "S4", "S5", "S6", "S8", "S9", "S10", "S11", "S12")
NEEDS_POSTGRES = frozenset({"S1", "S2", "S3", "S6", "S10", "S11"})
LONGEST_SECONDS = 5400


def run(name: str, redis_url: str) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix=f"cube-bench-{name.lower()}-"))
    try:
        with database() as (url, is_postgres):
            if name in NEEDS_POSTGRES and not is_postgres:
                return [Row(name, "skipped", "", "PostgreSQL does not answer")]
            (folder / "stub").mkdir()
            environment = {
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.bench.schedules.settings",
                "CUBE_DATABASE_URL": url,
                "CUBE_REDIS_URL": redis_url,
                "CUBE_REDIS_PREFIX": folder.name,
                "CUBE_DATA_DIR": str(folder),
                "CUBE_BENCH_STUB": str(folder / "stub"),
            }
            command = [sys.executable, "-m", "tests.bench.schedules.scenario", name, str(folder)]
            done = subprocess.run(command, env=environment, timeout=LONGEST_SECONDS, check=False)  # noqa: S603
            if done.returncode:
                return [Row(name, "did not end well", "", "", False)]
            return [Row(**row) for row in orjson.loads((folder / "rows.json").read_bytes())]
    except subprocess.TimeoutExpired:
        return [Row(name, f"not done in {LONGEST_SECONDS} s", "", "", False)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a time limit cleans up too
    chosen = [name for name in os.environ.get("ONLY", "").upper().replace(" ", "").split(",") if name] or SCENARIOS
    rows: list[Row] = []
    with redis_server() as url:
        for name in chosen:
            sys.stdout.write(f"{name} …\n")
            sys.stdout.flush()
            rows += run(name, url)
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())
