"""What one viewer has seen, and what comes next: history, then live, each line of each stream exactly once.

`seen[stream]` is the next ordinal to show. While it equals where the broadcast stands, the viewer gets the broadcast's
own messages; what lies between is read from the store, and from memory where the store is a moment behind.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import NamedTuple

from .broadcasting import Frame
from .feeds import Feed
from .filters import Filter
from .framing import frames, message
from .hot import piece_of
from .lines import Line
from .threads import in_search, in_thread
from .windows import Stop, Stopped, View, Window, never, page_of

LAG_SECONDS, MUCH_LINES = 1.0, 500
TAIL_SECONDS, KEPT_TAILS = 0.5, 4


class Tail(NamedTuple):
    """The newest lines as messages: where they begin and end, and which frame and rewind come next."""

    messages: tuple[str, ...]
    ends: dict[int, int]
    began: dict[int, int]
    number: int
    rewound: int


class Viewing:
    """`is_live`: it follows the tail. Not so while the viewer looks at another part of the log."""

    def __init__(self, feed: Feed, some: asyncio.Event) -> None:
        self.feed, self.some = feed, some
        self.seen: dict[int, int] = {}
        self.began: dict[int, int] = {}  # where what was shown starts, for a viewer that does not say
        self.is_live = False
        self.waits_for_store = False
        self._broadcast = feed.broadcast(Filter())
        self._broadcast.listeners.add(some)
        self._number = self._broadcast.next_number
        self._rewound = feed.rewound
        self._taken_back: dict[int, int] = {}
        self._told_lag, self._told_lag_at = 0, 0.0

    def close(self) -> None:
        self._broadcast.listeners.discard(self.some)
        self.feed.release(self._broadcast)

    @property
    def chosen(self) -> Filter:
        return self._broadcast.chosen

    def choose(self, chosen: Filter) -> None:
        """Another filter: what was seen says nothing any more. Raises needle.BadNeedle, and then nothing changed."""
        _ = chosen.needle
        if chosen != self.chosen:
            new = self.feed.broadcast(chosen)
            self.close()
            self._broadcast = new
            new.listeners.add(self.some)
        self.seen, self.is_live, self._number = {}, False, self._broadcast.next_number

    # -- parts of the log --------------------------------------------------------------------------------------------
    async def view(self, stop: Stop = never) -> View:
        """The chosen streams as they are now."""
        return (await self._look(stop))[0]

    async def _look(self, stop: Stop = never) -> tuple[View, int]:
        """The chosen streams up to where the broadcast stands, and the number of the frame that goes on from there."""
        sources = await self.feed.sources()
        number, ends = self._broadcast.next_number, self._broadcast.position
        kept = [source for source in sources if source.stream in ends]
        view = await in_thread(View, kept, chosen=self.chosen, runs=self.feed.recent(ends), ends=ends, stop=stop)
        return view, number

    async def line(self, stream: int, ordinal: int) -> Line | None:
        """One line of any stream, whatever is chosen."""
        sources = [source for source in await self.feed.sources() if source.stream == stream]
        ends = dict(self.feed.next)
        return await in_thread(lambda: View(sources, runs=self.feed.recent(ends), ends=ends).line(stream, ordinal))

    async def window(self, read: Callable[[View], Window], stop: Stop = never) -> Window:
        """A part of the log. When it reaches the end the viewer is live from there."""
        view, number = await self._look(stop)
        try:
            window = await in_search(read, view)
        except Stopped:
            window = Window([], before=True, after=False, is_partial=True)
        self.is_live = not window.after
        self.seen, self._number = dict(view.ends), number
        self.began = _began(view, window.lines)
        return window

    async def tail(self, number: int) -> tuple[str, ...]:
        """The newest lines as messages, read once for everybody who comes within half a second."""
        tails, now = self._broadcast.tails, time.monotonic()
        made, task = tails.get(number, (0.0, None))
        if task is None or now - made > TAIL_SECONDS:
            if len(tails) >= KEPT_TAILS:
                tails.clear()
            task = asyncio.create_task(self._read_tail(number))
            tails[number] = (now, task)
        tail: Tail = await asyncio.shield(task)
        self.seen, self.began, self.is_live = dict(tail.ends), dict(tail.began), True
        self._number, self._rewound = tail.number, tail.rewound
        return tail.messages

    async def _read_tail(self, number: int) -> Tail:
        rewound = self.feed.rewound
        view, frame_number = await self._look()

        def read() -> Tail:
            lines = view.tail(number).lines
            messages = tuple(frames(piece_of(line).data for line in lines))
            return Tail(messages, view.ends, _began(view, lines), frame_number, rewound)

        return await in_thread(read)

    async def before(self, cursors: Mapping[int, int], number: int, stop: Stop = never) -> tuple[list[Line], bool]:
        """At most `number` lines before the first ones a viewer shows, and whether there are more. Raises Stopped."""
        view = await self.view(stop)
        ends = (lambda: view.edge(cursors, is_upper=True)) if cursors else (lambda: self.began)
        lines, more = await in_search(lambda: view.before(ends(), number))
        for line in lines:
            self.began[line.stream] = min(line.ordinal, self.began.get(line.stream, line.ordinal))
        return lines, more

    async def after(self, cursors: Mapping[int, int], number: int, stop: Stop = never) -> tuple[list[Line], bool]:
        """At most `number` lines after the last ones a viewer shows; when there are no more it is live again."""
        view, frame_number = await self._look(stop)
        starts = (lambda: view.edge(cursors, is_upper=False)) if cursors else (lambda: self.seen)
        lines, more = await in_search(lambda: view.after(starts(), number))
        if not more and not self.is_live:
            self.seen, self._number, self.is_live = dict(view.ends), frame_number, True
        return lines, more

    def open_at(self, cursors: Mapping[int, int]) -> None:
        """Continue from the next ordinals a viewer names; streams it does not name start at their first line."""
        self.seen, self.is_live = dict(cursors), True
        self._number = self._broadcast.next_number
        for stream, row in self.feed.rows.items():
            last = max(row.line_count, self.feed.next[stream])
            if self.seen.get(stream, 0) > last:  # It was shown lines that nobody has any more.
                self._taken_back[stream] = last

    @property
    def behind(self) -> int:
        """How many lines are known of that were not shown."""
        return sum(max(0, end - self.seen.get(stream, 0)) for stream, end in self._broadcast.position.items())

    @property
    def lacks_stored(self) -> bool:
        """Whether the rows know of lines that were not shown."""
        rows = self.chosen.of(self.feed.streams)
        return any(self.seen.get(row.pk, 0) < row.line_count for row in rows)

    # -- live --------------------------------------------------------------------------------------------------------
    async def news(self, is_wanted: Callable[[], bool] = never) -> AsyncIterator[str]:
        """The messages that are due now. Between two of them it stops when the viewer wants something else."""
        self.waits_for_store = False
        while True:
            for text in self._rewinds():
                yield text
            if not self.is_live or is_wanted():
                return
            frame, is_lost = self._next_frame()
            if frame is not None and self._continues(frame):
                self._number += 1
                for text in self._show(frame):
                    yield text
            elif is_lost or frame is not None or self._lacks(self._broadcast.position):
                async for text in self._catch_up(is_wanted):
                    yield text
                if self.waits_for_store:
                    return
            else:
                break
        if self._told_lag:
            self._told_lag = 0
            yield message("lag", behind=0)

    def _next_frame(self) -> tuple[Frame | None, bool]:
        try:
            return self._broadcast.frame(self._number), False
        except LookupError:
            return None, True

    def _continues(self, frame: Frame) -> bool:
        return self.seen is frame.before or not self._lacks(frame.before)

    def _lacks(self, position: Mapping[int, int]) -> bool:
        if self.seen is position:
            return False
        return any(self.seen.get(stream, 0) < next_ for stream, next_ in position.items())

    def _show(self, frame: Frame) -> Iterable[str]:
        """The frame's own messages for who is up to date, else those of its lines that were not shown."""
        if self.seen is frame.before:
            self.seen = frame.after
            return frame.messages
        seen = self.seen
        lines = [each.data for each in frame.lines if each.data and each.end > seen.get(each.stream, 0)]
        self.seen = seen | {stream: end for stream, end in frame.after.items() if end > seen.get(stream, 0)}
        if all(self.seen.get(stream, 0) == end for stream, end in frame.after.items()):
            self.seen = frame.after
        return frames(lines)

    def _rewinds(self) -> Iterable[str]:
        """Lines that were shown and never stored are taken back, and so are the frames that still hold some."""
        for stream, to in self._taken_back.items():
            self.seen = {**self.seen, stream: to}
            yield message("rewind", s=stream, to=to)
        self._taken_back = {}
        if self._rewound == self.feed.rewound:
            return
        new = [each for each in self.feed.rewinds if each.number > self._rewound]
        if len(new) < self.feed.rewound - self._rewound:
            raise LookupError("more was taken back than is remembered")
        self._rewound = self.feed.rewound
        self._number = self._broadcast.next_number
        for rewind in new:
            if self.is_live and self.seen.get(rewind.stream, 0) <= rewind.to:
                continue
            self.seen = {**self.seen, rewind.stream: min(self.seen.get(rewind.stream, 0), rewind.to)}
            yield message("rewind", s=rewind.stream, to=rewind.to)

    async def _catch_up(self, is_wanted: Callable[[], bool]) -> AsyncIterator[str]:
        """Read what lies between, in pages, merged by time, until what there was at the start has been shown."""
        view, self._number = await self._look()
        target = self._broadcast.position
        for text in self._rewinds():
            yield text
        lines = view.forwards(dict(self.seen))
        while page := await in_thread(page_of, lines):
            if lag := self._lag():
                yield lag
            for text in frames(piece_of(line).data for line in page):
                yield text
            self.seen = self.seen | {line.stream: line.ordinal + 1 for line in page}
            if is_wanted():
                return
        self.seen = self.seen | {each: end for each, end in view.ends.items() if end > self.seen.get(each, 0)}
        self.waits_for_store = self._lacks(target)

    def _lag(self) -> str:
        """How far behind, now and then, when it is much."""
        behind = self.behind
        if behind < MUCH_LINES or time.monotonic() - self._told_lag_at < LAG_SECONDS:
            return ""
        self._told_lag, self._told_lag_at = behind, time.monotonic()
        return message("lag", behind=behind)


def _began(view: View, lines: Iterable[Line]) -> dict[int, int]:
    """Where lines in order begin in each stream; at its end, if there are none of it."""
    began = dict(view.ends)
    for line in lines:
        began[line.stream] = min(began[line.stream], line.ordinal)
    return began
