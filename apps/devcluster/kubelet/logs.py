"""Log files in the CRI format, one per container run: `2026-01-31T10:00:00.123456789Z stdout F text`.

Source: the kubelet's CRI logging design and kuberuntime/logs. Lines above 16 KiB are written as partial
records (`P`) closed by a full one (`F`) and read back whole; like the kubelet, `tailLines` counts records,
and only the current file is ever read: what was rotated away stays on the disk but out of reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PARTIAL_BYTES = 16 * 1024
READ_BYTES = 256 * 1024


def stamp(nanoseconds: int) -> bytes:
    """RFC 3339 with nine digits, UTC."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % rest


class LogFile:
    """Writes one container run's log and wakes those who follow it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.closed = False
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._rotations = 0
        self._rest = {b"stdout": b"", b"stderr": b""}
        self._changed = asyncio.Event()

    def feed(self, stream: bytes, data: bytes) -> None:
        """Take bytes as they came from a pipe; whole lines and full chunks are written at once."""
        prefix = stamp(time.time_ns()) + b" " + stream
        lines = (self._rest[stream] + data).split(b"\n")
        records: list[bytes] = []
        for line in lines[:-1]:
            rest = self._cut(records, prefix, line)
            records.append(b"%b F %b\n" % (prefix, rest))
        self._rest[stream] = self._cut(records, prefix, lines[-1])
        self._write(records)

    @staticmethod
    def _cut(records: list[bytes], prefix: bytes, line: bytes) -> bytes:
        position = 0
        while len(line) - position > PARTIAL_BYTES:
            records.append(b"%b P %b\n" % (prefix, line[position : position + PARTIAL_BYTES]))
            position += PARTIAL_BYTES
        return line[position:] if position else line

    def _write(self, records: list[bytes]) -> None:
        if records:
            view = memoryview(b"".join(records))
            while view:  # An unbuffered write may be short.
                view = view[self._file.write(view) :]
            self.wake()

    def rotate(self, max_bytes: int, max_files: int) -> None:
        """Where the file is larger, set it aside and begin anew; `max_files` stay, the new one among them."""
        if self.closed or self._file.tell() <= max_bytes:
            return
        self._file.close()
        self._rotations += 1
        self.path.rename(f"{self.path}.{self._rotations:06}")
        self._file = self.path.open("ab", buffering=0)
        old = sorted(self.path.parent.glob(f"{self.path.name}.*"))
        for path in old[: max(0, len(old) - max_files + 1)]:
            path.unlink()
        self.wake()

    def wake(self) -> None:
        """Let followers look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self) -> None:
        """Until something was written or the log ended."""
        if not self.closed:
            await self._changed.wait()

    def close(self) -> None:
        """Write what has no newline as a partial record, so that it is read back without one, and end the
        log.
        """
        if self.closed:
            return
        now = stamp(time.time_ns())
        self._write([b"%b %b P %b\n" % (now, name, rest) for name, rest in self._rest.items() if rest])
        self.closed = True
        self._file.close()
        self.wake()


@dataclass(frozen=True)
class LogOptions:
    """The options of a log request; times in nanoseconds since the epoch."""

    follow: bool = False
    tail_lines: int | None = None
    since: int | None = None
    timestamps: bool = False
    limit_bytes: int | None = None


def _tail_offset(path: Path, records: int) -> int:
    """Where the last `records` records begin, found from the end so that a large log costs little."""
    with path.open("rb") as file:
        position = file.seek(0, 2)
        if records == 0:
            return position
        missing = records + 1
        while position > 0:
            start = max(0, position - READ_BYTES)
            file.seek(start)
            block = file.read(position - start)
            while (found := block.rfind(b"\n")) >= 0:
                missing -= 1
                if missing == 0:
                    return start + found + 1
                block = block[:found]
            position = start
    return 0


class _Renderer:
    """Turns records into what a client sees."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._since = stamp(options.since) if options.since is not None else b""
        self._inside: set[bytes] = set()
        self.left = options.limit_bytes if options.limit_bytes is not None else -1

    def render(self, records: list[bytes]) -> bytes:
        """Bytes for these records, cut at the limit."""
        output: list[bytes] = []
        for record in records:
            when, stream, tag, text = record.split(b" ", 3)
            if when < self._since:
                continue
            if self._options.timestamps and stream not in self._inside:
                output.append(when + b" ")
            output.append(text)
            if tag == b"F":
                output.append(b"\n")
                self._inside.discard(stream)
            else:
                self._inside.add(stream)
        data = b"".join(output)
        if self.left >= 0:
            data = data[: self.left]
            self.left -= len(data)
        return data


async def read_log(path: Path, options: LogOptions, live: LogFile | None = None) -> AsyncIterator[bytes]:
    """The log at `path`; following ends when `live` has ended and everything is read."""
    if not path.exists():
        return
    renderer = _Renderer(options)
    rest = b""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        if options.tail_lines is not None:
            file.seek(_tail_offset(path, options.tail_lines))
        while renderer.left != 0:
            ended = live is None or live.closed  # Asked before reading: what comes after is read next time.
            block = file.read(READ_BYTES)
            if block:
                *records, rest = (rest + block).split(b"\n")
                if data := renderer.render(records):
                    yield data
                await asyncio.sleep(0)
            elif options.follow and path.exists() and not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                stack.close()  # Rotated, and the old file is read to its end: files between the two are lost.
                file = stack.enter_context(path.open("rb"))
            elif ended or not options.follow:
                return
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(live.wait(), 30)  # type: ignore[union-attr]


def last_bytes(path: Path, lines: int = 80, limit: int = 2048) -> str:
    """The end of a log, as `FallbackToLogsOnError` takes it for the termination message."""
    if not path.exists():
        return ""
    data = path.read_bytes()[_tail_offset(path, lines) :]
    text = _Renderer(LogOptions()).render(data.split(b"\n")[:-1])
    return text[-limit:].decode(errors="replace")


def drop_logs(folder: Path, *, before: int) -> None:
    """Like the kubelet, keep the logs of the current run and the one before it."""
    for path in folder.glob("*.log*"):
        number = path.name.split(".")[0]
        if number.isdigit() and int(number) < before:
            path.unlink()
