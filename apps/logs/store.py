"""The truth about logs: one append-only file per container run, under `CUBE_LOG_DIR`.

    <project id>/<job uid>/<attempt>-<pod uid>-<container>-<restart>.log

The cursor is the file itself: what is in it has been collected, what is not will be asked for again. A line is
there once its newline is; a torn end is cut off by the next writer and never shown by a reader.
"""

import bisect
import fcntl
import os
import re
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from django.conf import settings

from .lines import GAP, Line, Record, parse_stored, second_of

BLOCK = 64 * 1024
SKEW_SECONDS = 1
KEPT_INDEXES = 512
CONTAINER = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
POD_UID = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,35})"
UUID_TEXT = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
PATH = re.compile(rf"\d{{1,19}}/{UUID_TEXT}/\d{{1,5}}-{POD_UID}-{CONTAINER}-\d{{1,10}}\.log")


class UnsafePath(ValueError):
    """A piece of a path is not what it should be; nothing was touched."""


class InUse(OSError):
    """Another collector writes this file."""


@dataclass(frozen=True)
class Source:
    """Where a stream's lines are. `lines` and `bytes` are a place known to be a line's end: reading starts near it."""

    stream: int
    path: str
    lines: int = 0
    bytes: int = 0


def path_of(*, project_id: int, job_uid: UUID, attempt: int, pod_uid: str, container: str, restart: int) -> str:
    """The path below CUBE_LOG_DIR. Raises UnsafePath, since pod uid and container name come from a cluster."""
    return checked(f"{project_id}/{job_uid}/{attempt}-{pod_uid}-{container}-{restart}.log")


def checked(path: str) -> str:
    if not PATH.fullmatch(path):
        raise UnsafePath(path[:200])
    return path


def file_of(path: str) -> Path:
    return Path(settings.CUBE_LOG_DIR) / checked(path)


def remove_job(*, project_id: int, job_uid: str) -> None:
    """Delete every file of a job. Removing what is gone is fine. Raises UnsafePath."""
    if not isinstance(project_id, int) or not re.fullmatch(UUID_TEXT, job_uid):
        raise UnsafePath(f"{project_id}/{job_uid}"[:200])
    shutil.rmtree(Path(settings.CUBE_LOG_DIR) / str(project_id) / job_uid, ignore_errors=True)


# -- reading ---------------------------------------------------------------------------------------------------------
@dataclass
class Index:
    """Places where lines start: (ordinal, offset), sorted, about one per 64 KiB read so far."""

    marks: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, ordinal: int, offset: int) -> None:
        with self.lock:
            at = bisect.bisect_left(self.marks, (ordinal, offset))
            if at == len(self.marks) or self.marks[at][0] != ordinal:
                self.marks.insert(at, (ordinal, offset))

    def below(self, ordinal: int) -> tuple[int, int]:
        with self.lock:
            return self.marks[bisect.bisect_right(self.marks, (ordinal, 1 << 62)) - 1]

    @property
    def last(self) -> tuple[int, int]:
        return self.marks[-1]


_indexes: OrderedDict[str, Index] = OrderedDict()
_indexes_lock = threading.Lock()


def _index_of(source: Source, size: int) -> Index:
    path = str(file_of(source.path))
    with _indexes_lock:
        index = _indexes.pop(path, None)
        if index is None or index.last[1] > size:  # Another file than the one we knew.
            index = Index()
        _indexes[path] = index
        if len(_indexes) > KEPT_INDEXES:
            _indexes.popitem(last=False)
    if source.lines and source.bytes <= size:
        index.add(source.lines, source.bytes)
    return index


def _open(source: Source) -> BinaryIO | None:
    try:
        return open(file_of(source.path), "rb", buffering=BLOCK)
    except FileNotFoundError:
        return None


def count(source: Source) -> int:
    """How many whole lines the file holds now. Costs what was written since the last question."""
    file = _open(source)
    if file is None:
        return 0
    with file:
        return _end(file, source)[0]


def read(source: Source, start: int, number: int) -> list[Line]:
    """At most `number` lines from ordinal `start` on."""
    return list(iterate(source, start, start + number))


def tail(source: Source, number: int) -> list[Line]:
    """The last `number` lines, oldest first."""
    lines: list[Line] = []
    for line in backwards(source):
        if len(lines) >= number:
            break
        lines.append(line)
    return lines[::-1]


def iterate(source: Source, start: int = 0, end: int | None = None) -> Iterator[Line]:
    """Lines with start <= ordinal < end, or up to what is written when reading gets there."""
    file = _open(source)
    if file is None:
        return
    with file:
        ordinal = _seek(file, source, start)
        if ordinal < start:  # Not written yet.
            return
        while (end is None or ordinal < end) and (raw := file.readline()).endswith(b"\n"):
            yield Line(source.stream, ordinal, *parse_stored(raw))
            ordinal += 1


def backwards(source: Source, end: int | None = None) -> Iterator[Line]:
    """Lines from the end, or from just before ordinal `end`, towards the first."""
    file = _open(source)
    if file is None:
        return
    with file:
        ordinal = _seek(file, source, end) if end is not None else _end(file, source)[0]
        offset = file.tell()
        index = _index_of(source, os.fstat(file.fileno()).st_size)
        pieces: list[bytes] = []  # of a line whose start has not been reached, last piece first
        while offset > 0 and ordinal > 0:
            size = min(BLOCK, offset)
            offset -= size
            file.seek(offset)
            head, *lines = file.read(size).split(b"\n")
            if not lines:
                pieces.append(head)
                continue
            # The block ends at a line's end (then its last piece is empty) or inside the line that `pieces` continue.
            lines[-1] += b"".join(reversed(pieces))
            if not pieces and lines[-1] == b"":
                lines.pop()
            pieces = [head]
            starts_at = offset + len(head) + 1
            first = ordinal - len(lines)
            index.add(first, starts_at)
            for line in reversed(lines):
                ordinal -= 1
                yield Line(source.stream, ordinal, *parse_stored(line))
        if ordinal == 1:
            yield Line(source.stream, 0, *parse_stored(b"".join(reversed(pieces))))


def _seek(file: BinaryIO, source: Source, ordinal: int) -> int:
    """Stand at the start of line `ordinal`, or after the last whole line; answers which line that is."""
    size = os.fstat(file.fileno()).st_size
    index = _index_of(source, size)
    line, offset = index.below(ordinal)
    file.seek(offset)
    while line < ordinal:
        block = file.read(BLOCK)
        breaks = block.count(b"\n")
        if line + breaks >= ordinal:
            at = -1
            for _ in range(ordinal - line):
                at = block.find(b"\n", at + 1)
            line, offset = ordinal, offset + at + 1
            break
        if not block:
            offset = index.last[1]
            break
        offset += len(block)
        if breaks:
            line += breaks
            index.add(line, offset - len(block) + block.rfind(b"\n") + 1)
    file.seek(offset)
    return line


def _end(file: BinaryIO, source: Source) -> tuple[int, int]:
    index = _index_of(source, os.fstat(file.fileno()).st_size)
    line, end = index.last
    file.seek(end)
    offset = end
    while block := file.read(BLOCK):
        if breaks := block.count(b"\n"):
            line += breaks
            end = offset + block.rfind(b"\n") + 1
            index.add(line, end)
        offset += len(block)
    file.seek(end)
    return line, end


# -- writing ---------------------------------------------------------------------------------------------------------
class Appender:
    """The one writer of a file: locked while open, so that a collector that lost its lease cannot write beside another.

    `lines` and `bytes` say what is stored; `latest` is the greatest stamp, `last` the last record of the container.
    `place` is lines and bytes of one moment, for whoever looks while another thread appends.
    """

    def __init__(self, source: Source, *, latest: bytes = b"") -> None:
        """Open, lock, cut a torn end, find the cursor. Raises InUse, OSError."""
        self.source = source
        self._lock = threading.Lock()  # A thread may still write when its task has been cancelled.
        path = file_of(source.path)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._recover(latest)
        except BlockingIOError:
            os.close(self._fd)
            raise InUse(f"{path} is being written by another collector") from None
        except BaseException:
            os.close(self._fd)
            raise

    def _recover(self, latest: bytes) -> None:
        size = os.fstat(self._fd).st_size
        known = self.source if self.source.bytes <= size else Source(self.source.stream, self.source.path)
        self.source = known
        self.lines, self.bytes, self.latest = known.lines, known.bytes, latest if known.bytes else b""
        self.last: Record | None = None
        self.ends_with_gap = False
        with open(os.dup(self._fd), "rb", buffering=BLOCK) as file:
            file.seek(self.bytes)
            while (raw := file.readline()).endswith(b"\n"):
                self._count(parse_stored(raw), len(raw))
        if self.bytes < size:
            os.ftruncate(self._fd, self.bytes)
        if self.last is None:
            self._look_back()
        self.place = (self.lines, self.bytes)

    def _look_back(self) -> None:
        """Nothing follows the known place: the last lines stand before it."""
        where = Source(self.source.stream, self.source.path, self.lines, self.bytes)
        for number, line in enumerate(backwards(where)):
            if line.kind != GAP:
                self.last = Record(*line[2:])
                self.latest = max(self.latest, line.stamp)
                return
            if number == 0:
                self.ends_with_gap = True

    def _count(self, record: Record, size: int) -> None:
        self.lines += 1
        self.bytes += size
        self.ends_with_gap = record.kind == GAP
        if record.kind != GAP:
            self.last = record
            self.latest = max(self.latest, record.stamp)

    def append(self, records: Iterable[Record]) -> None:
        """Write whole lines in one go; on any failure (a full disk) the file is as before. Raises OSError."""
        records = list(records)
        encoded = [record.encode() for record in records]
        with self._lock:
            self._write(b"".join(encoded))
            for record, raw in zip(records, encoded, strict=True):
                self._count(record, len(raw))
            self.place = (self.lines, self.bytes)

    def _write(self, data: bytes) -> None:
        if self.is_closed:
            raise OSError("the log file was closed")
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except BaseException:
            os.ftruncate(self._fd, self.bytes)
            raise

    def since(self) -> bytes:
        """The second to ask again from; empty when nothing is stored.

        One second before the last stored line: the two writers of a container (stdout, stderr) may swap neighbours,
        and a line stamped before the second asked for would never come.
        """
        if self.last is None:
            return b""
        moment = datetime.fromisoformat(second_of(self.last.stamp).decode()) - timedelta(seconds=SKEW_SECONDS)
        return moment.isoformat().encode()

    def stored_since(self, second: bytes) -> Iterator[Record]:
        """The container's stored lines from `second` on, in order: what a replay from there begins with."""
        source = Source(self.source.stream, self.source.path, self.lines, self.bytes)
        for line in iterate(source, self._first_since(source, second), self.lines):
            if line.kind != GAP and line.stamp >= second:
                yield Record(*line[2:])

    def _first_since(self, source: Source, second: bytes) -> int:
        """An ordinal at or before every line stamped in `second` or later.

        Since neighbours may be swapped, looking back goes on into earlier seconds before it trusts the order; a clock
        that was set back (`latest` lies ahead) means looking from the start.
        """
        if self.last is None or second_of(self.latest) > second_of(self.last.stamp):
            return 0
        earlier: set[bytes] = set()
        ordinal = self.lines
        for line in backwards(source):
            if line.stamp < second:
                earlier.add(second_of(line.stamp))
                if len(earlier) > 2:
                    break
            ordinal = line.ordinal
        return ordinal

    def sync(self) -> None:
        os.fdatasync(self._fd)

    @property
    def is_closed(self) -> bool:
        return self._fd < 0

    def close(self) -> None:
        """Let another writer in. Waits for a write under way."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
