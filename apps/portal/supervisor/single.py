"""One supervisor per data folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyRunning(Exception):
    """The folder is held; `note` is what its holder wrote down."""

    def __init__(self, note: str) -> None:
        super().__init__(note)
        self.note = note


@contextmanager
def only_one(path: Path, *, note: str) -> Iterator[None]:
    """Hold `path` for as long as the block runs. The kernel lets go when we die, however we die."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunning(file.read().strip()) from None
        file.truncate()
        file.write(note)
        file.flush()
        yield
        file.truncate(0)
