"""What a log is made of: stamped records, and the way from a kubelet's bytes to them.

A record is one stored line: `<stamp> <kind><text>\\n`. The stamp is RFC 3339 in UTC with nanoseconds, always 30
characters, so that comparing stamps as bytes compares times. The text is what the container wrote, byte for byte,
without its newline.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

ORDINARY = b"o"
PART = b"p"  # a piece of a very long line: the next record continues it
GAP = b"g"  # a sentence of ours: lines are, or may be, missing here
STAMP = 30
HEAD = STAMP + 2
PART_BYTES = 16 * 1024 * 1024  # the most of one line held in memory; longer lines become several records
LIVE_TEXT_BYTES = 16 * 1024  # the most of one line sent to a browser
UTC_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
ANY_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
LONGEST_STAMP = 40


class NoStamp(ValueError):
    """A line without a time stamp: the node speaks, not the container."""


class Record(NamedTuple):
    stamp: bytes
    kind: bytes
    text: bytes

    def encode(self) -> bytes:
        return b"%s %s%s\n" % self


class Line(NamedTuple):
    """A record with its place: `ordinal` counts the stream's records from 0."""

    stream: int
    ordinal: int
    stamp: bytes
    kind: bytes
    text: bytes


KIND_WORDS = {"g": "gap", "p": "part"}


def shown(text: bytes) -> str:
    """The start of a line as text for a browser; bytes that are no UTF-8 become U+FFFD."""
    return text[:LIVE_TEXT_BYTES].decode("utf-8", "replace")


def normal_stamp(stamp: bytes) -> bytes:
    """Any RFC 3339 time as 30 bytes in UTC. Raises NoStamp."""
    if len(stamp) == STAMP and UTC_STAMP.fullmatch(stamp):
        return stamp
    match = ANY_STAMP.fullmatch(stamp)
    if match is None:
        raise NoStamp(stamp[:60].decode("utf-8", "replace"))
    seconds, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat((seconds + (b"+00:00" if zone == b"Z" else zone)).decode()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NoStamp(stamp.decode()) from None
    return b"%s.%sZ" % (moment.strftime("%Y-%m-%dT%H:%M:%S").encode(), (fraction or b"").ljust(9, b"0"))


def second_of(stamp: bytes) -> bytes:
    """The whole second a stamp lies in, as a stamp prefix: what the API server makes of `sinceTime`."""
    return stamp[:19]


def parse_stored(line: bytes) -> Record:
    """A line of our own files, newline included or not."""
    text = line[HEAD:-1] if line.endswith(b"\n") else line[HEAD:]
    return Record(line[:STAMP], line[STAMP + 1 : HEAD], text)


def gap(stamp: bytes, sentence: str) -> Record:
    return Record(stamp, GAP, " ".join(sentence.split()).encode())


@dataclass
class Splitter:
    """Cuts the bytes of one answer into records. The same bytes give the same records however they were chunked."""

    rest: bytearray
    stamp: bytes = b""  # of the long line that is being cut into parts

    @classmethod
    def fresh(cls) -> "Splitter":
        return cls(bytearray())

    def feed(self, chunk: bytes) -> Iterator[Record]:
        """Records completed by `chunk`. Raises NoStamp for a line that is not the container's."""
        if b"\n" not in chunk:
            self.rest += chunk
            yield from self._parts()
            return
        first, *others = chunk.split(b"\n")
        self.rest += first
        yield from self._parts()
        yield self._close(bytes(self.rest))
        for line in others[:-1]:
            yield from self._whole(line)
        self.rest = bytearray(others[-1])
        yield from self._parts()

    def finish(self) -> Iterator[Record]:
        """What is left when a finished container's log ends without a newline."""
        if self.rest or self.stamp:
            yield self._close(bytes(self.rest))
            self.rest = bytearray()

    def _whole(self, line: bytes) -> Iterator[Record]:
        if len(line) <= PART_BYTES:
            yield self._close(line)
            return
        self.rest = bytearray(line)
        yield from self._parts()
        yield self._close(bytes(self.rest))

    def _parts(self) -> Iterator[Record]:
        """Records of a line that is already too long, each exactly PART_BYTES of its text."""
        while len(self.rest) > PART_BYTES + LONGEST_STAMP + 1:
            if not self.stamp:
                stamp, _, text = bytes(self.rest).partition(b" ")
                self.stamp, self.rest = normal_stamp(stamp), bytearray(text)
            yield Record(self.stamp, PART, bytes(self.rest[:PART_BYTES]))
            del self.rest[:PART_BYTES]

    def _close(self, line: bytes) -> Record:
        self.rest = bytearray()
        if self.stamp:
            stamp, self.stamp = self.stamp, b""
            return Record(stamp, ORDINARY, line)
        stamp, _, text = line.partition(b" ")
        return Record(normal_stamp(stamp), ORDINARY, text)
