"""`make bench-logs`: L1 to L12, exactness and speed of the log collector, its store and its viewers.

A Cube of its own (PostgreSQL where it answers, else SQLite) reads a log server that forgets as Kubernetes does
(`tests.bench.logserver`), whose own list of written lines is the oracle. The server and the collector have a processor
core each where there are two. QUICK=1: each kind of trouble for some seconds; ONLY=L4,L6: some of them.
CUBE_BENCH_KEEP=1 leaves the data folder, with what every process said.
"""

import os
import resource
import signal
import sys
import time

from tests.bench.database import database
from tests.bench.logs import exact, history, speed
from tests.bench.logs.bench import QUICK, SERVER_CORE, Bench, load, tell
from tests.bench.logs.cube import cube
from tests.bench.logserver.remote import log_server
from tests.bench.table import Row, report

MEASURES = {
    "L1": speed.l1,
    "L2": speed.l2,
    "L3": speed.l3,
    "L4": exact.l4,
    "L5": exact.l5,
    "L6": exact.l6,
    "L7": exact.l7,
    "L8": exact.l8,
    "L9": speed.l9,
    "L10": speed.l10,
    "L11": history.l11,
    "L12": history.l12,
}


def chosen() -> list[str]:
    """Raises SystemExit for a measure that does not exist."""
    wanted = [name.strip().upper() for name in os.environ.get("ONLY", "").split(",") if name.strip()]
    if unknown := set(wanted) - set(MEASURES):
        raise SystemExit(f"no such measure: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    return wanted or list(MEASURES)


def measure(bench: Bench, names: list[str]) -> None:
    for name in names:
        tell(f"{name}: {(MEASURES[name].__doc__ or '').strip().splitlines()[0]} (load average {load()})")
        begun = time.monotonic()
        try:
            MEASURES[name](bench)
        except Exception as error:  # noqa: BLE001  One measure's failure must not hide the others' results.
            bench.row(name, f"could not be measured: {type(error).__name__}: {error}"[:200], "", "", False)
        tell(f"{name}: {time.monotonic() - begun:.0f} s")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a time limit cleans up too
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, hard), hard))
    names = chosen()
    with log_server(core=SERVER_CORE) as server, database() as (url, is_postgres):
        jobs = [name.lower() for name in [*names, *(f"{each}{x}" for each in names for x in "bc")]]
        with cube(server, url if is_postgres else "", *jobs) as made:
            bench = Bench(server, made, url if is_postgres else "")
            made.start_web(2)
            measure(bench, names)
            where = "PostgreSQL" if is_postgres else "SQLite"
            tail = Row("machine", f"{os.cpu_count()} cores, {where}", "", f"load average {load()}{', QUICK' * QUICK}")
            return report([*bench.rows, tail])


if __name__ == "__main__":
    sys.exit(main())
