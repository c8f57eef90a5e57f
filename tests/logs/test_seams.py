"""Whatever happens to batches, commits and collectors on the way: a viewer's rows become the store's lines."""

import asyncio
from contextlib import ExitStack
from unittest.mock import patch
from uuid import UUID

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.logs import broadcasting, feeds, hot
from apps.logs.feeds import Feed
from apps.logs.filters import Filter
from apps.logs.lines import Record
from apps.logs.models import LogStream
from apps.logs.store import Segment, Source, objects, reading, segments
from apps.logs.viewing import Viewing

from .conftest import stamp

STREAMS = (1, 2)
JOB = UUID(int=7)


class Collector:
    """Announces and commits in memory. Every text names its epoch, so that a line that was taken back is known."""

    def __init__(self, objects_):
        self.objects = objects_
        self.rows = {pk: LogStream(pk=pk, pod_name=f"train-{pk}", rank=pk, epoch=1) for pk in STREAMS}
        self.segments = {pk: [] for pk in STREAMS}
        self.pending = {pk: [] for pk in STREAMS}
        self.stored = {pk: [] for pk in STREAMS}
        self.second = 0

    def write(self, stream, count):
        row = self.rows[stream]
        first = len(self.stored[stream]) + len(self.pending[stream])
        self.second += 1
        new = [
            Record(stamp(self.second % 600, at), b" ", b"%d.%d.%d" % (stream, row.epoch, first + at))
            for at in range(count)
        ]
        self.pending[stream] += new
        return hot.Batch(stream, row.epoch, first, count, b"".join(record.encode() for record in new))

    def commit(self, stream):
        new, self.pending[stream] = self.pending[stream], []
        if not new:
            return
        segment = segments.encode(b"".join(record.encode() for record in new))
        name = f"packs/{len(self.objects)}"
        self.objects[name] = segment.data
        place = (name, 0, len(segment.data), segment.index_size)
        self.segments[stream].append(
            Segment(len(self.stored[stream]), len(new), segment.earliest, segment.latest, *place)
        )
        self.stored[stream] += new
        self.rows[stream] = self._row(stream)

    def crash(self, stream):
        self.pending[stream] = []
        self.rows[stream] = self._row(stream, epoch=self.rows[stream].epoch + 1)

    def end(self):
        for stream in STREAMS:
            self.commit(stream)
            self.rows[stream] = self._row(stream, is_complete=True)

    def _row(self, stream, **changes):
        row = self.rows[stream]
        known = {"pk": stream, "pod_name": row.pod_name, "rank": stream, "epoch": row.epoch}
        return LogStream(**(known | {"line_count": len(self.stored[stream])} | changes))

    def seen(self):
        return list(self.rows.values()), frozenset(), all(row.is_complete for row in self.rows.values())

    def sources(self):
        return [Source(pk, tuple(self.segments[pk]), len(self.stored[pk])) for pk in STREAMS]


class Viewer:
    """A browser: keeps rows, drops those that are taken back, and is outraged by doubles and disorder."""

    def __init__(self, feed, *, chosen=None):
        self.viewing = Viewing(feed, asyncio.Event())
        self.rows = {}
        if chosen is not None:
            self.viewing.choose(chosen)

    async def join(self, *, tail):
        if tail is None:
            self.viewing.open_at({})
        else:
            for text in await self.viewing.tail(tail):
                self.hear(orjson.loads(text))

    async def drain(self):
        async for text in self.viewing.news():
            self.hear(orjson.loads(text))

    def hear(self, message):
        if message["type"] == "rewind":
            self.rows[message["s"]] = [each for each in self.rows.get(message["s"], []) if each[0] < message["to"]]
        elif message["type"] == "lines":
            for line in message["lines"]:
                own = self.rows.setdefault(line["s"], [])
                assert not own or line["n"] > own[-1][0], (line, own[-1])
                own.append((line["n"], line["m"]))


streams = st.sampled_from(STREAMS)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("write"), streams, st.integers(1, 5), st.booleans()),
        st.tuples(st.just("write"), streams, st.integers(1, 5), st.just(True)),
        st.tuples(st.just("commit"), streams),
        st.tuples(st.just("again"), streams),
        st.tuples(st.just("crash"), streams),
        st.tuples(st.just("look")),
        st.tuples(st.just("join"), st.sampled_from([None, 0, 2, 100])),
        st.tuples(st.just("drain"), st.integers(0, 3)),
        st.tuples(st.just("pause")),
    ),
    max_size=40,
)


async def play(steps, chosen, collector):
    feed = Feed(1, JOB)
    feed._rows, feed._find_sources = collector.seen, collector.sources
    await feed.look()
    viewers, batches = [], []

    async def join(tail):
        viewers.append(Viewer(feed, chosen=chosen))
        await viewers[-1].join(tail=tail)

    await join(100)
    for name, *arguments in steps:
        if name == "write":
            stream, count, is_announced = arguments
            batches.append(collector.write(stream, count))
            if is_announced:
                feed.deliver(batches[-1])
        elif name == "again" and batches:
            feed.deliver(batches[-1])
        elif name in ("commit", "crash"):
            getattr(collector, name)(*arguments)
        elif name == "look":
            await feed.look()
        elif name == "join" and len(viewers) < 4:
            await join(*arguments)
        elif name == "drain" and arguments[0] < len(viewers):
            await viewers[arguments[0]].drain()
        elif name == "pause":
            await asyncio.sleep(0.001)
    collector.end()
    await feed.look()
    await asyncio.sleep(0.01)
    for viewer in viewers:
        for _ in range(100):
            feed._sources = (0.0, [])
            await viewer.drain()
            if not viewer.viewing.lacks_stored:
                break
            await asyncio.sleep(0.001)
        viewer.viewing.close()
    return viewers


def at_once(function):
    async def call():
        return function()

    return call


def run(steps, chosen=None):
    stored = {}
    collector = Collector(stored)
    reading.forget()
    with ExitStack() as stack:
        for module, name, value in (
            (broadcasting, "WINDOW_SECONDS", 0.0005),
            (broadcasting, "TICK_SECONDS", 0),
            (broadcasting, "ALONE_SECONDS", 0),
            (broadcasting, "RING_BYTES", 600),
            (feeds, "RECENT_BYTES", 600),
            (feeds, "AHEAD_BYTES", 500),
            (feeds, "FILL_LINES", 8),
            (feeds, "database_sync_to_async", at_once),
            (objects, "read", lambda name, offset, size: stored[name][offset : offset + size]),
        ):
            stack.enter_context(patch.object(module, name, value))
        viewers = asyncio.run(play(steps, chosen, collector))
    return collector, viewers


def check(collector, viewers, chosen):
    for number, viewer in enumerate(viewers):
        for stream in STREAMS:
            everything = [
                (ordinal, record.text.decode())
                for ordinal, record in enumerate(collector.stored[stream])
                if chosen.has(collector.rows[stream]) and chosen.wants(record.stamp, record.text)
            ]
            own = viewer.rows.get(stream, [])
            assert own == everything[len(everything) - len(own) :]
            if number == 0:  # It came before there was anything.
                assert own == everything


class TestSeams:
    @settings(max_examples=150, deadline=None)
    @given(actions)
    def test_every_viewer_ends_with_the_stored_lines_each_once_and_in_order(self, steps):
        collector, viewers = run(steps)

        check(collector, viewers, Filter())

    @settings(max_examples=60, deadline=None)
    @given(actions)
    def test_so_does_one_that_looks_for_a_text(self, steps):
        chosen = Filter(text=r"[02468]$", regex=True, streams=frozenset({2}))

        collector, viewers = run(steps, chosen)

        check(collector, viewers, chosen)
