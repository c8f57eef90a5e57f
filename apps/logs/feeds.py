"""What one process knows of one job's log: its streams, and the newest lines of each, without a hole.

Batches come from Redis, announced up to a second before they are stored. A batch beyond a hole is kept until the store
has what lies between; a hole that is too big to read at once is left to each viewer, who reads the store at leisure.
When a collector takes over after a crash, what was announced and never stored is taken back: a rewind.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from channels.db import database_sync_to_async

from . import hot, selectors, store
from .broadcasting import Broadcast
from .filters import Filter
from .hot import Batch, Piece
from .lines import Line
from .models import LogStream
from .threads import in_thread

RECENT_BYTES = 4 * 1024 * 1024  # of records; the lines made of them take four times that
AHEAD_BYTES = 8 * 1024 * 1024
FILL_LINES = 20_000
FILL_BYTES = 4 * 1024 * 1024
SOURCES_SECONDS = 0.5
KEPT_REWINDS = 50_000


class Run(NamedTuple):
    """Lines of one stream in a row, in memory."""

    stream: int
    first: int
    pieces: Sequence[Piece]
    size: int

    @property
    def end(self) -> int:
        return self.first + len(self.pieces)


class Rewind(NamedTuple):
    """Lines of `stream` from ordinal `to` on were never stored: another text has, or will have, their place."""

    number: int
    stream: int
    to: int


class Feed:
    """`next[stream]` is the ordinal after the last line known; `version` counts changes a viewer should be told."""

    def __init__(self, job_id: int, job_uid: UUID) -> None:
        self.job_id, self.key = job_id, hot.key_of(job_uid)
        self.users = 0
        self.last_id = ""
        self.rows: dict[int, LogStream] = {}
        self.failed_pods: frozenset[str] = frozenset()
        self.next: dict[int, int] = {}
        self.version = 0
        self.has_ended = self.is_stale = self.is_busy = False
        self.rewinds: deque[Rewind] = deque(maxlen=KEPT_REWINDS)
        self.rewound = 0
        self.listeners: set[asyncio.Event] = set()  # told of every look at the rows
        self._epochs: dict[int, int] = {}
        self._stable: dict[int, int] = {}  # what was stored when the rows last named the epoch we know
        self._ahead: dict[int, list[Batch]] = {}
        self._ahead_bytes = self._recent_bytes = 0
        self._recent: deque[Run] = deque()
        self._broadcasts: dict[Filter, Broadcast] = {}
        self.opening, self._looking, self._sourcing = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._looked_at = 0.0
        self._sources: tuple[float, list[store.Source]] = (0.0, [])

    # -- viewers -----------------------------------------------------------------------------------------------------
    @property
    def streams(self) -> list[LogStream]:
        return list(self.rows.values())

    def broadcast(self, chosen: Filter) -> Broadcast:
        """The lines of a filter, merged once for all who ask for them. Give it back with `release`."""
        if chosen not in self._broadcasts:
            self._broadcasts[chosen] = Broadcast(chosen)
            self._tell_rows(self._broadcasts[chosen])
        broadcast = self._broadcasts[chosen]
        broadcast.users += 1
        return broadcast

    def release(self, broadcast: Broadcast) -> None:
        broadcast.users -= 1
        if broadcast.users <= 0:
            broadcast.close()
            if self._broadcasts.get(broadcast.chosen) is broadcast:
                del self._broadcasts[broadcast.chosen]

    def recent(self, ends: dict[int, int]) -> dict[int, list[Run]]:
        """What is in memory, by stream, up to `ends`."""
        runs: dict[int, list[Run]] = {}
        for run in self._recent:
            if run.first < ends.get(run.stream, 0):
                runs.setdefault(run.stream, []).append(run)
        return runs

    async def sources(self, most_seconds: float = SOURCES_SECONDS) -> list[store.Source]:
        """Where the stored lines are, as of at most that long ago."""
        called = time.monotonic()
        async with self._sourcing:
            asked, sources = self._sources
            if asked < called - most_seconds:
                asked = time.monotonic()
                sources = await database_sync_to_async(self._find_sources)()
                self._sources = (asked, sources)
            return sources

    def _find_sources(self) -> list[store.Source]:
        """Of a stream whose segments were all removed by age, what is stored is nothing, and yet not before line 0."""
        rows = selectors.streams_of(self.job_id)
        counts = {row.pk: row.line_count for row in rows}
        sources = selectors.sources_of(rows)
        return [replace(each, lines=max(each.lines, counts[each.stream])) for each in sources]

    # -- batches -----------------------------------------------------------------------------------------------------
    def deliver(self, batch: Batch) -> None:
        self.is_busy = True
        if not batch.count:
            self.is_stale = True
        elif batch.stream in self.rows:
            self._accept(batch)
        else:
            self.is_stale = True
            self._keep(batch)

    def _accept(self, batch: Batch) -> None:
        epoch, next_ = self._epochs[batch.stream], self.next[batch.stream]
        if batch.epoch < epoch:
            return  # The last words of a collector that lost the stream.
        if batch.epoch > epoch:
            # Its first batch may have been lost, so only what was stored before it is sure to stay.
            self._enter(batch.stream, batch.epoch, min(next_, batch.first, self._stable.get(batch.stream, 0)))
            next_ = self.next[batch.stream]
        if batch.first > next_:
            self._keep(batch)
        elif batch.end > next_:
            self._advance(Run(batch.stream, next_, batch.pieces[next_ - batch.first :], len(batch.body)))
            self._take_kept(batch.stream)

    def _enter(self, stream: int, epoch: int, to: int) -> None:
        """Another collector goes on from `to`, or from before it."""
        self._epochs[stream] = epoch
        self._drop_kept(stream)
        if to >= self.next[stream]:
            return
        self.next[stream] = to
        self.rewound += 1
        self.rewinds.append(Rewind(self.rewound, stream, to))
        for run in [run for run in self._recent if run.stream == stream and run.end > to]:
            self._recent.remove(run)
            self._recent_bytes -= run.size
            if run.first < to:
                self._remember(run._replace(pieces=run.pieces[: to - run.first]))
        for broadcast in self._broadcasts.values():
            broadcast.rewind(stream, to)

    def _advance(self, run: Run) -> None:
        self.next[run.stream] = run.end
        self._remember(run)
        for broadcast in self._broadcasts.values():
            broadcast.offer(run.stream, run.pieces)

    def _remember(self, run: Run) -> None:
        self._recent.append(run)
        self._recent_bytes += run.size
        while self._recent_bytes > RECENT_BYTES and len(self._recent) > 1:
            self._recent_bytes -= self._recent.popleft().size

    def _keep(self, batch: Batch) -> None:
        """Keep what lies beyond a hole, or whose row is not known yet; the store will have what does not fit."""
        if self._ahead_bytes + len(batch.body) <= AHEAD_BYTES:
            self._ahead.setdefault(batch.stream, []).append(batch)
            self._ahead_bytes += len(batch.body)

    def _drop_kept(self, stream: int) -> list[Batch]:
        kept = self._ahead.pop(stream, [])
        self._ahead_bytes -= sum(len(batch.body) for batch in kept)
        return kept

    def _take_kept(self, stream: int) -> None:
        for batch in sorted(self._drop_kept(stream), key=lambda each: (each.epoch, each.first)):
            self._accept(batch)

    # -- rows --------------------------------------------------------------------------------------------------------
    def is_due(self, *, busy: float, idle: float) -> bool:
        """Whether the rows should be asked again: at once while lines wait for others, rarely while nothing comes."""
        past = time.monotonic() - self._looked_at
        return bool(self._ahead) or past >= (busy if self.is_busy else idle)

    async def look(self) -> None:
        """Read the rows again, fill holes from the store, wake everybody."""
        async with self._looking:
            self.is_stale = self.is_busy = False
            self._looked_at = time.monotonic()
            rows, failed, ended = await database_sync_to_async(self._rows)()
            self._meet({row.pk: row for row in rows}, failed, ended)
            holes = {row.pk: row.line_count for row in rows if row.line_count > self.next[row.pk]}
            if holes:
                await self._fill(holes)
        for listener in self.listeners:
            listener.set()

    def _rows(self) -> tuple[list[LogStream], frozenset[str], bool]:
        # In this order: a stream that appears in between is seen by the next look, never missed by an early end.
        streams = selectors.streams_of(self.job_id)
        return streams, selectors.failed_pods_of(self.job_id), selectors.has_ended(self.job_id, streams)

    def _meet(self, rows: dict[int, LogStream], failed: frozenset[str], ended: bool) -> None:
        is_first = not self.version
        changed = is_first or rows.keys() != self.rows.keys() or failed != self.failed_pods
        self.rows, self.failed_pods, self.has_ended = rows, failed, ended
        self.version += changed
        for row in rows.values():
            self._compare(row, is_first=is_first)
        for broadcast in self._broadcasts.values():
            self._tell_rows(broadcast)
        for stream in list(self._ahead):
            if stream in rows:
                self._take_kept(stream)
            else:  # A row is there before its lines are: this one was deleted.
                self._drop_kept(stream)

    def _compare(self, row: LogStream, *, is_first: bool) -> None:
        if row.pk not in self.next:
            self.next[row.pk] = row.line_count if is_first else 0
            self._epochs[row.pk] = row.epoch
        stable = self._stable.get(row.pk, 0)
        if row.epoch > self._epochs[row.pk] and (row.line_count > stable or row.is_complete):
            # Another collector goes on and none of its batches came: what was stored meanwhile may be of either.
            self._enter(row.pk, row.epoch, min(self.next[row.pk], stable))
        if row.epoch == self._epochs[row.pk]:
            self._stable[row.pk] = row.line_count

    def _tell_rows(self, broadcast: Broadcast) -> None:
        broadcast.know(broadcast.chosen.of(self.streams), self.next)

    async def _fill(self, holes: dict[int, int]) -> None:
        """Read what was stored and never came; pass over what is too much."""
        sources = {source.stream: source for source in await database_sync_to_async(self._find_sources)()}
        room = FILL_LINES
        for stream, end in holes.items():
            first = self.next[stream]
            source = sources.get(stream)
            if source is None or first >= end:
                continue
            if end - first <= room:
                room -= end - first
                pieces, is_all = await in_thread(_pieces, store.iterate(source, first, end))
                if pieces and is_all and pieces[0].ordinal == first:
                    self._fit(stream, first, pieces)
                    continue
            if self.next[stream] < end:
                self.next[stream] = end
                for broadcast in self._broadcasts.values():
                    broadcast.skip(stream, end)
            self._take_kept(stream)

    def _fit(self, stream: int, first: int, pieces: list[Piece]) -> None:
        """Lines from the store, of which some may have come meanwhile."""
        next_ = self.next[stream]
        if first <= next_ < first + len(pieces):
            rest = pieces[next_ - first :]
            self._advance(Run(stream, next_, rest, sum(len(piece.data) for piece in rest)))
        self._take_kept(stream)


def _pieces(lines: Iterable[Line]) -> tuple[list[Piece], bool]:
    pieces, size = [], 0
    for line in lines:
        pieces.append(hot.piece_of(line))
        size += len(line.text)
        if size > FILL_BYTES:
            return pieces, False
    return pieces, True
