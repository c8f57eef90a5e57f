"""Points at which a process dies by its own kill -9: a file arms one, and whoever gets there first takes it.

A point is armed for one death. Taking the file away is atomic, so of many processes and threads one dies.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("CUBE_BENCH_STUB", "/nonexistent")).parent
CREATED = "created"  # a worker: the cluster has accepted the object, and no row says so yet
SAVED = "saved"  # a ticker: slots and runs are inserted, and not committed
POINTS = (CREATED, SAVED)


def arm(point: str) -> None:
    _armed(point).touch()


def disarm() -> None:
    for point in POINTS:
        _armed(point).unlink(missing_ok=True)


def die_if_armed(point: str) -> None:
    try:
        _armed(point).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_slots(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
    """An execute wrapper of Django's: slots are the last rows that the transaction of a tick inserts."""
    result = execute(sql, params, many, context)
    if sql.startswith('INSERT INTO "schedules_slot"'):
        die_if_armed(SAVED)
    return result


def wrap(connection: Any, **_: Any) -> None:
    """A receiver of `connection_created`."""
    if die_after_slots not in connection.execute_wrappers:
        connection.execute_wrappers.append(die_after_slots)


def _armed(point: str) -> Path:
    return FOLDER / f"die-when-{point}"
