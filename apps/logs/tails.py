"""Where a stream ends, as its collector knows it: what was accepted, a moment before it is stored."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .lines import GAP, HEAD, STAMP, Gap, Line, raw_records, second_of
from .models import LogStream
from .store import Source, backwards, iterate

SKEW_SECONDS = 1


@dataclass
class Tail:
    """`next` is the ordinal after the last accepted record; `last` the stamp of the container's last line, `latest` the
    greatest so far. `is_lost`: another collector has the stream, nothing of ours will be stored."""

    stream: int
    epoch: int
    job_uid: str
    label: str
    next: int = 0
    first_time: bytes = b""
    last: bytes = b""
    latest: bytes = b""
    ends_with_gap: bool = False
    is_lost: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, row: LogStream, job_uid: str, *, ends_with_gap: bool = False) -> "Tail":
        stamps = row.first_time.encode(), row.last_time.encode(), row.latest_time.encode()
        return cls(row.pk, row.epoch, job_uid, str(row), row.line_count, *stamps, ends_with_gap)

    def extend(self, body: bytes) -> int:
        """Count the records of a body that follows. Returns how many there are."""
        raws = raw_records(body)
        stamps = [raw[:STAMP] for raw in raws]
        self.first_time = self.first_time or stamps[0]
        self.next += len(raws)
        self.ends_with_gap = raws[-1][STAMP:HEAD] == GAP
        if not self.ends_with_gap:
            self.last = stamps[-1]
            self.latest = max(self.latest, max(stamps))
        return len(raws)

    def gap(self, cause: str, text: str, *, until: bytes = b"") -> Gap:
        return Gap(cause, text, since=self.last.decode(), until=until.decode())

    def since(self) -> bytes:
        """The second to ask again from; empty when nothing is stored.

        One second before the last line: the two writers of a container (stdout, stderr) may swap neighbours, and a line
        stamped before the second asked for would never come.
        """
        if not self.last:
            return b""
        moment = datetime.fromisoformat(second_of(self.last).decode()) - timedelta(seconds=SKEW_SECONDS)
        return moment.isoformat().encode()

    def stored_since(self, source: Source, second: bytes) -> list[bytes]:
        """The container's stored records from `second` on, in order: what a replay from there begins with."""
        return [
            b"%s%s%s" % line[2:]
            for line in self._from_about(source, second)
            if line.kind != GAP and line.stamp >= second
        ]

    def _from_about(self, source: Source, second: bytes) -> Iterator[Line]:
        """From an ordinal at or before every line stamped in `second` or later.

        Since neighbours may be swapped, looking back goes on into earlier seconds before it trusts the order; a clock
        that was set back (`latest` lies ahead) means looking from the start.
        """
        if second_of(self.latest) > second_of(self.last):
            return iterate(source)
        earlier: set[bytes] = set()
        ordinal = source.lines
        for line in backwards(source):
            if line.stamp < second:
                earlier.add(second_of(line.stamp))
                if len(earlier) > 2:
                    break
            ordinal = line.ordinal
        return iterate(source, ordinal)
