"""Reading a stream's lines. A `Source` is what the rows said at one moment; reading it asks the database nothing.

A source stays readable for an hour after its segments were rewritten; then `Moved` says to ask for a new one.
"""

import bisect
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

from apps.logs.lines import Line, parse_stored, raw_records
from apps.logs.needle import Needle

from . import ngrams, objects, segments
from .segments import Frame

CACHED_BYTES = 64 * 1024 * 1024
CACHED_INDEXES = 16 * 1024
Value = TypeVar("Value")


class Moved(OSError):
    """The segment was rewritten or removed since the source was made: make it again."""


class Segment(NamedTuple):
    """Where `records` records from ordinal `first` on lie."""

    first: int
    records: int
    earliest: bytes
    latest: bytes
    name: str
    offset: int
    size: int
    index_size: int

    @property
    def end(self) -> int:
        return self.first + self.records


@dataclass(frozen=True)
class Source:
    """A stream's segments in order. `lines` counts from ordinal 0, whether or not the first ones are still kept."""

    stream: int
    segments: tuple[Segment, ...] = ()
    lines: int = 0

    @cached_property
    def firsts(self) -> list[int]:
        return [segment.first for segment in self.segments]

    @property
    def start(self) -> int:
        """The first ordinal that is kept: retention removes from the beginning."""
        return self.segments[0].first if self.segments else self.lines


class _Cache:
    """The most recently used values, up to a total cost."""

    def __init__(self, most: int, cost: Callable[[Value], int]) -> None:
        self._most, self._cost, self._total = most, cost, 0
        self._held: OrderedDict[tuple[str, int], object] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int], make: Callable[[], Value]) -> Value:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]  # type: ignore[return-value]
        value = make()
        with self._lock:
            if key not in self._held:
                self._held[key] = value
                self._total += self._cost(value)  # type: ignore[arg-type]
            while self._total > self._most and len(self._held) > 1:
                self._total -= self._cost(self._held.popitem(last=False)[1])  # type: ignore[arg-type]
        return value

    def clear(self) -> None:
        with self._lock:
            self._held.clear()
            self._total = 0


_frames = _Cache(CACHED_BYTES, len)
_indexes = _Cache(CACHED_INDEXES, lambda index: 1)


def forget() -> None:
    """Empty the caches: for tests that use one name twice."""
    _frames.clear()
    _indexes.clear()


def read(source: Source, start: int, number: int) -> list[Line]:
    """At most `number` lines from ordinal `start` on."""
    return list(iterate(source, start, start + number))


def tail(source: Source, number: int) -> list[Line]:
    """The last `number` lines, oldest first."""
    return read(source, max(source.start, source.lines - number), number)


def iterate(source: Source, start: int = 0, end: int | None = None) -> Iterator[Line]:
    """Lines with start <= ordinal < end that are kept. Raises Moved."""
    stop = source.lines if end is None else min(end, source.lines)
    for segment in source.segments[max(0, bisect.bisect_right(source.firsts, start) - 1) :]:
        if segment.first >= stop:
            return
        for ordinal, frame in _placed(segment):
            if ordinal >= stop:
                return
            if ordinal + frame.records > start:
                raws = raw_records(_expanded(segment, frame))
                low, high = max(0, start - ordinal), min(frame.records, stop - ordinal)
                for at in range(low, high):
                    yield Line(source.stream, ordinal + at, *parse_stored(raws[at]))


def bodies(source: Source) -> Iterator[bytes]:
    """Everything the source holds, a frame's records at a time. Raises Moved."""
    for segment in source.segments:
        for _, frame in _placed(segment):
            yield _expanded(segment, frame)


def backwards(source: Source, end: int | None = None) -> Iterator[Line]:
    """Lines from the end, or from just before ordinal `end`, towards the first. Raises Moved."""
    stop = source.lines if end is None else min(end, source.lines)
    for segment in reversed(source.segments[: bisect.bisect_left(source.firsts, stop)]):
        for ordinal, frame in reversed(_placed(segment)):
            if ordinal < stop:
                raws = raw_records(_expanded(segment, frame))
                for at in range(min(frame.records, stop - ordinal) - 1, -1, -1):
                    yield Line(source.stream, ordinal + at, *parse_stored(raws[at]))


def ordinal_at(source: Source, stamp: bytes) -> int:
    """The first ordinal with that stamp or a later one; `source.lines` when there is none. Raises Moved."""
    for segment in source.segments:
        if segment.latest < stamp:
            continue
        for ordinal, frame in _placed(segment):
            if frame.latest >= stamp:
                for at, raw in enumerate(raw_records(_expanded(segment, frame))):
                    if raw >= stamp:
                        return ordinal + at
    return source.lines


def scan(
    source: Source, needle: Needle, start: int = 0, end: int | None = None, *, since: bytes = b"", until: bytes = b"~"
) -> Iterator[Line]:
    """Lines that hold `needle`, in order, stamped in [since, until). Frames that cannot hold it are not opened."""
    stop = source.lines if end is None else min(end, source.lines)
    for segment in source.segments[max(0, bisect.bisect_right(source.firsts, start) - 1) :]:
        if segment.first >= stop:
            return
        if segment.latest < since or segment.earliest >= until:
            continue
        filters = _Filters(segment)
        for ordinal, frame in _placed(segment):
            if ordinal + frame.records <= start or frame.latest < since or frame.earliest >= until:
                continue
            if ordinal >= stop:
                return
            if not filters.may_hold(frame, needle):
                continue
            for at, raw in needle.records_in(_expanded(segment, frame)):
                if start <= ordinal + at < stop and since <= raw[:30] < until:
                    yield Line(source.stream, ordinal + at, *parse_stored(raw))


class _Filters:
    """The filters of one segment, fetched when first asked for."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._base, self._data = 0, b""

    def may_hold(self, frame: Frame, needle: Needle) -> bool:
        if not frame.filter_size or not needle.grams:
            return True
        if not self._data:
            frames = _index(self._segment)
            self._base = frames[0].filter_offset
            length = sum(each.filter_size for each in frames)
            self._data = _fetch(self._segment, self._base, length)
        start = frame.filter_offset - self._base
        bits = segments.expand(self._data[start : start + frame.filter_size], ngrams.BITS // 8)
        return ngrams.may_hold(bits, needle.grams)


def _placed(segment: Segment) -> list[tuple[int, Frame]]:
    """The segment's frames, each with the ordinal of its first record."""
    placed, ordinal = [], segment.first
    for frame in _index(segment):
        placed.append((ordinal, frame))
        ordinal += frame.records
    return placed


def _index(segment: Segment) -> list[Frame]:
    def make() -> list[Frame]:
        tail_ = _fetch(segment, segment.size - segment.index_size, segment.index_size)
        return segments.frames_of(tail_, segment.size)

    return _indexes.get((segment.name, segment.offset), make)


def _expanded(segment: Segment, frame: Frame) -> bytes:
    def make() -> bytes:
        return segments.expand(_fetch(segment, frame.offset, frame.size), frame.raw_size)

    return _frames.get((segment.name, segment.offset + frame.offset), make)


def _fetch(segment: Segment, offset: int, size: int) -> bytes:
    try:
        return objects.read(segment.name, segment.offset + offset, size)
    except FileNotFoundError as error:
        raise Moved(f"log segment {segment.name} is not there any more") from error
