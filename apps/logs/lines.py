"""What a log is made of: stamped records, and the way from a kubelet's bytes to them.

A record is `<stamp><mark><text>\\n`: 30 bytes of RFC 3339 in UTC with nanoseconds, so that comparing stamps as bytes
compares times, then one byte that says what it is. An ordinary record is exactly what a kubelet sends, so most of a
log is checked, counted and stored without being taken apart. A body is any number of whole records."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import orjson
import re2

ORDINARY = b" "
PART = b"p"  # a piece of a very long line: the next record continues it
GAP = b"g"  # a note of ours: lines are, or may be, missing here
STAMP = 30
HEAD = STAMP + 1
MASK = b"***"  # in place of what must not be read
PART_BYTES = 1024 * 1024  # the most text of one record; longer lines become several
LIVE_TEXT_BYTES = 4 * 1024  # the most of one line sent to a browser unasked
UTC_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
ANY_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
BYTES = re2.Options()
BYTES.encoding = re2.Options.Encoding.LATIN1  # what a container writes need not be UTF-8
# RE2 goes through a body three times as fast as `re`, and its time is linear whatever a container writes.
ORDINARY_BODY = re2.compile(rb"(?s:(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z [^\n]*\n)*)", BYTES)
LONGEST_STAMP = 40


class NoStamp(ValueError):
    """A line without a time stamp: the node speaks, not the container. `args[0]` is its text, `before` the records that
    came with it and precede it."""

    before = b""


class Record(NamedTuple):
    stamp: bytes
    kind: bytes
    text: bytes

    def encode(self) -> bytes:
        return b"%s%s%s\n" % self


class Line(NamedTuple):
    """A record with its place: `ordinal` counts the stream's records from 0."""

    stream: int
    ordinal: int
    stamp: bytes
    kind: bytes
    text: bytes


KIND_WORDS = {GAP: "gap", PART: "part"}


@dataclass(frozen=True)
class Gap:
    """Why lines are, or may be, missing between two stamps (empty: not known); `bytes` where it is known."""

    cause: str
    text: str
    since: str = ""
    until: str = ""
    bytes: int | None = None

    def record(self, stamp: bytes) -> Record:
        return Record(stamp, GAP, orjson.dumps(asdict(self)))


def gap_of(text: bytes) -> Gap:
    """The gap a gap row tells of."""
    try:
        known = orjson.loads(text)
        return Gap(**{name: known[name] for name in Gap.__dataclass_fields__ if name in known})
    except (ValueError, TypeError):
        return Gap("unknown", text.decode("utf-8", "replace"))


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


def moment_of(stamp: bytes) -> float:
    """A stamp as seconds since 1970, to the microsecond."""
    return datetime.fromisoformat(stamp[:26].decode() + "+00:00").timestamp()


def parse_stored(raw: bytes) -> Record:
    """One record of a body, newline included or not."""
    return Record(raw[:STAMP], raw[STAMP:HEAD], raw[HEAD:-1] if raw.endswith(b"\n") else raw[HEAD:])


def raw_records(body: bytes) -> list[bytes]:
    """The records of a body, each without its newline."""
    return body[:-1].split(b"\n") if body else []


@dataclass
class Splitter:
    """Cuts the bytes of one answer into bodies. The same bytes give the same records however they were chunked."""

    rest: bytes = b""
    stamp: bytes = b""  # of the long line that is being cut into parts

    def feed(self, chunk: bytes) -> bytes:
        """The records completed by `chunk`. Raises NoStamp for a line that is not the container's."""
        data = self.rest + chunk if self.rest else chunk
        end = data.rfind(b"\n") + 1
        whole, self.rest = data[:end], data[end:]
        if self.stamp or len(whole) > PART_BYTES or ORDINARY_BODY.fullmatch(whole) is None:
            whole = b"".join(self._careful(whole))
        if len(self.rest) > PART_BYTES + LONGEST_STAMP + 1:
            parts = b"".join(self._parts())
            return whole + parts
        return whole

    def finish(self) -> bytes:
        """What is left when a finished container's log ends without a newline."""
        if not (self.rest or self.stamp):
            return b""
        line, self.rest = self.rest, b""
        return b"".join(self._line(line))

    def _careful(self, whole: bytes) -> Iterator[bytes]:
        rest, before = self.rest, []
        for line in raw_records(whole):
            try:
                before += self._line(line)
            except NoStamp as error:
                error.before = b"".join(before)
                raise
        self.rest = rest
        yield from before

    def _line(self, line: bytes) -> Iterator[bytes]:
        """The records of one whole line, or of the end of one that was begun."""
        self.rest = line
        yield from self._parts()
        if self.stamp:
            yield Record(self.stamp, ORDINARY, self.rest).encode()
        else:
            stamp, _, text = self.rest.partition(b" ")
            yield Record(self._stamp_of(stamp, line), ORDINARY, text).encode()
        self.stamp, self.rest = b"", b""

    def _parts(self) -> Iterator[bytes]:
        """Records of a line that is already too long, each exactly PART_BYTES of its text."""
        while len(self.rest) > PART_BYTES + (0 if self.stamp else LONGEST_STAMP + 1):
            if not self.stamp:
                stamp, _, self.rest = self.rest.partition(b" ")
                self.stamp = self._stamp_of(stamp, stamp)
            yield Record(self.stamp, PART, self.rest[:PART_BYTES]).encode()
            self.rest = self.rest[PART_BYTES:]

    def _stamp_of(self, stamp: bytes, line: bytes) -> bytes:
        try:
            return normal_stamp(stamp)
        except NoStamp:
            raise NoStamp(line[:300].decode("utf-8", "replace")) from None
