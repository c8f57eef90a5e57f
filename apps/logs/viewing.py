"""What one viewer has seen, and what comes next: history, then live, each line of each stream exactly once.

`seen[stream]` is the next ordinal to show. A live batch that starts there is shown; one that lies before is dropped;
one that lies beyond shows a hole, which is read from the store, where every line was before it was announced.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any

from . import selectors
from .hot import Piece, piece_of
from .hub import Client
from .lines import Line

PAGE_BYTES = 64 * 1024
by_stamp = attrgetter("stamp")
by_stream = attrgetter("stream")


class Viewing:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen: dict[int, int] = {}
        self.began: dict[int, int] = {}  # where the history shown starts: older lines lie before

    @property
    def is_behind(self) -> bool:
        """Whether the store is known to hold lines that were not shown."""
        streams = self.client.feed.streams
        return self.client.missed or any(stream.line_count > self.seen.get(stream.pk, 0) for stream in streams)

    async def open_at_tail(self, number: int) -> list[Piece]:
        """The last `number` lines over all streams; what comes later continues from there."""
        self.client.drain()
        self.client.missed = False
        ends, lines = await asyncio.to_thread(self._newest, number)
        self.seen = dict(ends)
        self.began = dict(ends)
        for line in lines:
            self.began[line.stream] = min(self.began[line.stream], line.ordinal)
        return [piece_of(line) for line in lines]

    def open_at(self, cursors: Mapping[int, int]) -> None:
        """Continue from the next ordinals a viewer names; streams it does not name start at their first line."""
        self.seen = dict(cursors)
        self.began = dict(cursors)
        self.client.missed = True  # The store decides what is new.

    async def before(self, cursors: Mapping[int, int], number: int) -> list[Piece]:
        """At most `number` lines that lie before `cursors`; unnamed streams: before what was shown of them."""
        ends = {stream.pk: self.began.get(stream.pk, 0) for stream in self.client.feed.streams}
        ends |= {stream: ordinal for stream, ordinal in cursors.items() if stream in ends}
        lines = await asyncio.to_thread(selectors.newest, self._sources(), ends, number)
        for line in lines:
            self.began[line.stream] = min(self.began.get(line.stream, line.ordinal), line.ordinal)
        return [piece_of(line) for line in lines]

    def take(self) -> list[Piece]:
        """The live lines that continue what was seen, merged by time; a hole leaves `is_behind` true."""
        taken: list[Piece] = []
        for batch in self.client.drain():
            seen = self.seen.get(batch.stream, 0)
            if batch.first > seen:
                self.client.missed = True
                break
            if batch.end > seen:
                taken += batch.pieces[seen - batch.first :]
                self.seen[batch.stream] = batch.end
        return in_order(taken)

    async def catch_up(self) -> AsyncIterator[list[Line]]:
        """Pages of about 64 KiB from the store, merged by time, until what it held at the start has been given."""
        self.client.drain()  # What comes after this is kept: it continues, or overlaps, what is read now.
        self.client.missed = False
        sources = self._sources()
        ends = await asyncio.to_thread(selectors.counts, sources)
        lines = selectors.merged(sources, dict(self.seen), ends)
        while page := await asyncio.to_thread(_page, lines):
            for line in page:
                self.seen[line.stream] = line.ordinal + 1
            yield page

    def lag(self) -> int:
        """How many lines the rows know of that were not shown."""
        streams = self.client.feed.streams
        return sum(max(0, stream.line_count - self.seen.get(stream.pk, 0)) for stream in streams)

    def _newest(self, number: int) -> tuple[dict[int, int], list[Line]]:
        sources = self._sources()
        ends = selectors.counts(sources)
        return ends, selectors.newest(sources, ends, number)

    def _sources(self) -> list[Any]:
        return [stream.source for stream in self.client.feed.streams]


def in_order(pieces: list[Piece]) -> list[Piece]:
    """By time across streams, by ordinal within one."""
    runs = [list(run) for _, run in groupby(sorted(pieces, key=by_stream), key=by_stream)]
    return runs[0] if len(runs) == 1 else list(heapq.merge(*runs, key=by_stamp))


def _page(lines: Iterator[Line]) -> list[Line]:
    page, size = [], 0
    for line in lines:
        page.append(line)
        size += len(line.text) + 80
        if size >= PAGE_BYTES:
            break
    return page


def frames(pieces: Iterable[Piece], head: str = '"type":"lines"') -> Iterator[str]:
    """The lines as messages of at most about 64 KiB, each beginning with the JSON members in `head`."""
    batch: list[bytes] = []
    size = 0
    for piece in pieces:
        if batch and size + len(piece.data) > PAGE_BYTES:
            yield _frame(head, batch)
            batch, size = [], 0
        batch.append(piece.data)
        size += len(piece.data) + 1
    if batch:
        yield _frame(head, batch)


def _frame(head: str, batch: list[bytes]) -> str:
    return (b'{%s,"lines":[%s]}' % (head.encode(), b",".join(batch))).decode()
