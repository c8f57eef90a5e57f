"""Parts of a log as they are now: what is stored, and beyond it what is still only in memory, as one.

Everything here is read in a thread and asks the database nothing. The order over streams is (stamp, stream, ordinal),
and within a stream it is that of the ordinals even when a clock stepped back.
"""

import copy
import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice, takewhile
from operator import itemgetter
from typing import NamedTuple

from . import store
from .feeds import Run
from .filters import Filter
from .hot import Piece
from .lines import HEAD, Line, moment_of
from .merging import stamp_of
from .needle import Needle

WINDOW_BYTES = 1024 * 1024
PAGE_BYTES = 64 * 1024
FIRST_STEP, LONGEST_STEP = 4096, 262_144  # lines looked through at once when looking back for a text
SKEW_SECONDS = 60  # how far a clock may be set back
place_of = itemgetter(2, 0)
Stop = Callable[[], bool]


class Stopped(Exception):
    """Nobody waits for the answer any more, or it took too long."""


class Window(NamedTuple):
    """Lines in order; whether there are others `before` and `after` them; which line was asked for."""

    lines: list[Line]
    before: bool
    after: bool
    focus: tuple[int, int] | None = None
    is_partial: bool = False  # looking for more took too long


def never() -> bool:
    return False


class View:
    """The lines of the streams of `sources` that a filter wants, up to `ends`. `stop` is asked between steps."""

    def __init__(
        self,
        sources: Iterable[store.Source],
        *,
        chosen: Filter | None = None,
        runs: Mapping[int, list[Run]] | None = None,
        ends: Mapping[int, int] | None = None,
        stop: Stop = never,
    ) -> None:
        """`runs` are lines in memory; those that continue what is stored are seen up to `ends`."""
        self.sources = {source.stream: source for source in sources}
        self.chosen, self._stop = chosen or Filter(), stop
        self._beyond: dict[int, list[Piece]] = {}  # as they are; lines are made of those that are asked for
        self.ends: dict[int, int] = {}
        for stream, source in self.sources.items():
            self._beyond[stream] = _continuing(source.lines, (runs or {}).get(stream, ()), (ends or {}).get(stream, 0))
            self.ends[stream] = source.lines + len(self._beyond[stream])

    def only(self, streams: Collection[int]) -> "View":
        """The same for some of its streams."""
        view = copy.copy(self)
        view.sources = {stream: source for stream, source in self.sources.items() if stream in streams}
        view.ends = {stream: end for stream, end in self.ends.items() if stream in streams}
        return view

    # -- one stream --------------------------------------------------------------------------------------------------
    def one_forwards(self, stream: int, start: int, end: int, needle: Needle | None) -> Iterator[Line]:
        source, since, until = self.sources[stream], self.chosen.since, self.chosen.until
        start, end = max(start, self._floor(stream)), min(end, self._ceiling(stream))
        while start < (stop := min(end, source.lines)):
            if self._stop():
                raise Stopped
            step = min(stop, start + LONGEST_STEP)
            if needle is None:
                yield from self._within(store.iterate(source, start, step))
            else:
                yield from self._within(store.scan(source, needle, start, step, since=since, until=until or b"~"))
            start = step
        for piece in islice(self._beyond[stream], max(0, start - source.lines), None):
            if piece.ordinal < end and (needle is None or needle.search(piece.text)):
                yield from self._within((_line_of(piece),))

    def one_backwards(self, stream: int, end: int, needle: Needle | None) -> Iterator[Line]:
        end, floor = min(end, self._ceiling(stream)), self._floor(stream)
        for piece in reversed(self._beyond[stream]):
            if floor <= piece.ordinal < end and (needle is None or needle.search(piece.text)):
                yield from self._within((_line_of(piece),))
        source, step = self.sources[stream], FIRST_STEP
        end = min(end, source.lines)
        if needle is None:
            yield from self._within(takewhile(lambda line: line.ordinal >= floor, store.backwards(source, end)))
            return
        while end > floor:
            if self._stop():
                raise Stopped
            start = max(floor, end - step)
            yield from self._within(reversed(list(store.scan(source, needle, start, end))))
            end, step = start, min(LONGEST_STEP, step * 2)

    def ordinal_at(self, stream: int, stamp: bytes) -> int:
        """The first ordinal with that stamp or a later one."""
        source = self.sources[stream]
        ordinal = store.ordinal_at(source, stamp)
        if ordinal < source.lines:
            return ordinal
        wanted = stamp.decode("latin-1")
        return next((each.ordinal for each in self._beyond[stream] if each.stamp >= wanted), self.ends[stream])

    def _floor(self, stream: int) -> int:
        return self.ordinal_at(stream, self.chosen.since) if self.chosen.since else self.sources[stream].start

    def _ceiling(self, stream: int) -> int:
        """After it no line is stamped before `until`, unless a clock was set back by more than a minute."""
        if not self.chosen.until:
            return self.ends[stream]
        return self.ordinal_at(stream, stamp_of(moment_of(self.chosen.until) + SKEW_SECONDS).encode())

    def line(self, stream: int, ordinal: int) -> Line | None:
        if stream not in self.sources or ordinal < 0:
            return None
        if ordinal >= self.sources[stream].lines:
            beyond = self._beyond[stream][ordinal - self.sources[stream].lines :][:1]
            return _line_of(beyond[0]) if beyond else None
        return next(store.iterate(self.sources[stream], ordinal, ordinal + 1), None)

    def _within(self, lines: Iterable[Line]) -> Iterator[Line]:
        since, until = self.chosen.since, self.chosen.until
        if not since and not until:
            return iter(lines)
        return (line for line in lines if line.stamp >= since and (not until or line.stamp < until))

    # -- all streams -------------------------------------------------------------------------------------------------
    def forwards(
        self, starts: Mapping[int, int], ends: Mapping[int, int] | None = None, needle: Needle | None = None
    ) -> Iterator[Line]:
        """From each stream's start (0 when not named) on. With `needle` the filter's text is asked for besides."""
        ends = ends or self.ends
        first, second = self._needles(needle)
        lines = [self.one_forwards(each, starts.get(each, 0), ends.get(each, 0), first) for each in self.sources]
        return _holding(heapq.merge(*lines, key=place_of), second)

    def backwards(self, ends: Mapping[int, int], needle: Needle | None = None) -> Iterator[Line]:
        """From just before each stream's end (none of it when not named) towards the first."""
        first, second = self._needles(needle)
        lines = [self.one_backwards(each, ends.get(each, 0), first) for each in self.sources if ends.get(each)]
        return _holding(heapq.merge(*lines, key=place_of, reverse=True), second)

    def _needles(self, needle: Needle | None) -> tuple[Needle | None, Needle | None]:
        return (needle, self.chosen.needle) if needle is not None else (self.chosen.needle, None)

    # -- windows -----------------------------------------------------------------------------------------------------
    def before(self, ends: Mapping[int, int], number: int) -> tuple[list[Line], bool]:
        """At most `number` lines before each stream's end, oldest first, and whether there are more."""
        lines, more = _some(self.backwards(ends), number)
        return lines[::-1], more

    def after(self, starts: Mapping[int, int], number: int) -> tuple[list[Line], bool]:
        return _some(self.forwards(starts), number)

    def tail(self, number: int) -> Window:
        lines, more = self.before(self.ends, number)
        return Window(lines, more, after=False)

    def head(self, number: int) -> Window:
        lines, more = self.after({}, number)
        return Window(lines, before=False, after=more)

    def around(self, bounds: Mapping[int, int], number: int, focus: tuple[int, int] | None = None) -> Window:
        """Lines on both sides of a place; the first line after it is the one asked for, unless `focus` names it."""
        after, has_after = self.after(bounds, number - number // 2)
        before, has_before = self.before(bounds, number - len(after))
        if focus is None:
            focus = (after[0].stream, after[0].ordinal) if after else None
        elif focus not in [(line.stream, line.ordinal) for line in after[:1]]:
            focus = None  # The filter does not want it.
        return Window(before + after, has_before, has_after, focus)

    def at_line(self, stream: int, ordinal: int, number: int) -> Window:
        """Around one line; at the tail when there is no such line."""
        line = self.line(stream, ordinal)
        if line is None:
            return self.tail(number)
        return self.around(self.place(line), number, (stream, ordinal))

    def at_time(self, stamp: bytes, number: int) -> Window:
        return self.around({stream: self.ordinal_at(stream, stamp) for stream in self.sources}, number)

    def place(self, line: Line) -> dict[int, int]:
        """Of each stream, the first ordinal that does not sort before `line`."""
        bounds = {}
        for stream in self.sources:
            # The same stamp and more sorts behind all lines of that time.
            stamp = line.stamp + b"\xff" if stream < line.stream else line.stamp
            bounds[stream] = line.ordinal if stream == line.stream else self.ordinal_at(stream, stamp)
        return bounds

    def edge(self, cursors: Mapping[int, int], *, is_upper: bool) -> dict[int, int]:
        """Where a window ends in the streams it shows nothing of: where its outermost line, by time, would lie."""
        bounds = {stream: ordinal for stream, ordinal in cursors.items() if stream in self.sources}
        if len(bounds) == len(self.sources):
            return bounds
        shown = (self.line(stream, ordinal - (not is_upper)) for stream, ordinal in bounds.items())
        places = [line for line in shown if line is not None]
        if not places:
            return bounds
        return self.place(min(places, key=place_of) if is_upper else max(places, key=place_of)) | bounds

    def find(self, needle: Needle, place: tuple[bytes, int, int] | None, direction: int) -> tuple[Line | None, bool]:
        """The next line with `needle` after (before) a place, and whether it lies on the other side of the end."""
        bounds = self.ends if direction < 0 else {}
        if place is not None:
            bounds = self.place(Line(place[1], place[2] + (direction > 0), place[0], b"", b""))
        first = self._first(needle, bounds, direction)
        if first is not None or place is None:
            return first, False
        return self._first(needle, self.ends if direction < 0 else {}, direction), True

    def _first(self, needle: Needle, bounds: Mapping[int, int], direction: int) -> Line | None:
        lines = self.forwards(bounds, needle=needle) if direction > 0 else self.backwards(bounds, needle=needle)
        return next(lines, None)


def _continuing(start: int, runs: Iterable[Run], end: int) -> list[Piece]:
    """What is in memory from ordinal `start` on, without a hole, before `end`."""
    pieces: list[Piece] = []
    for run in runs:
        at = start + len(pieces)
        if run.first <= at < min(run.end, end):
            pieces += run.pieces[at - run.first : end - run.first]
    return pieces


def _line_of(piece: Piece) -> Line:
    return Line(piece.stream, piece.ordinal, piece.stamp.encode(), piece.kind, piece.text)


def _holding(lines: Iterator[Line], needle: Needle | None) -> Iterator[Line]:
    return lines if needle is None else (line for line in lines if needle.search(line.text))


def _some(lines: Iterator[Line], number: int) -> tuple[list[Line], bool]:
    taken: list[Line] = []
    size = 0
    for line in lines:
        if len(taken) >= number or size >= WINDOW_BYTES:
            return taken, True
        taken.append(line)
        size += min(len(line.text), 4096) + HEAD
    return taken, False


def page_of(lines: Iterator[Line]) -> list[Line]:
    """The next lines, of about 64 KiB together."""
    page, total = [], 0
    for line in lines:
        page.append(line)
        total += len(line.text) + HEAD
        if total >= PAGE_BYTES:
            break
    return page


def written(lines: Iterable[Line], form: Callable[[Line], bytes]) -> Iterator[bytes]:
    """The lines as a form writes them, in pieces of about 64 KiB."""
    page = bytearray()
    for line in lines:
        page += form(line)
        if len(page) >= PAGE_BYTES:
            yield bytes(page)
            page.clear()
    if page:
        yield bytes(page)
