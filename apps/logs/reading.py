"""A job's log as bytes for a program: chosen, merged by time, streamed in pages of about 64 KiB, lines whole.

Programs get what is stored, and so nothing that could be taken back: at most about two seconds after it was written.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from . import hub
from .downloading import zipped
from .feeds import Feed
from .filters import Filter
from .lines import Line
from .threads import in_thread
from .windows import View, written
from .writers import Form


@dataclass(frozen=True)
class Choice:
    """Which lines: all of them by default. `tail` counts over everything chosen, `starts` are cursors."""

    chosen: Filter = field(default_factory=Filter)
    starts: Mapping[int, int] = field(default_factory=dict)
    tail: int | None = None
    limit: int | None = None


async def stream_log(
    *, job_id: int, job_uid: UUID, choice: Choice, follow: bool, form: Form
) -> AsyncGenerator[bytes, None]:
    """The chosen lines; with `follow` until the job has ended. Closing the iterator frees everything it holds."""
    async with hub.current().watching(job_id, job_uid) as feed:
        some = asyncio.Event()
        feed.listeners.add(some)
        try:
            seen, tail, left = dict(choice.starts), choice.tail, choice.limit
            while True:
                some.clear()
                ending = feed.has_ended or not follow
                if ending or tail is not None or _has_news(feed, choice.chosen, seen):
                    view = await _view(feed, choice.chosen)
                    form.meet(choice.chosen.of(feed.streams))
                    counted = _Counted(view.forwards(seen) if tail is None else iter(view.tail(tail).lines), left)
                    async for page in _pages(counted, form):
                        yield page
                    seen, tail, left = {**seen, **view.ends}, None, counted.left
                if ending or left == 0:
                    return
                await some.wait()
        finally:
            feed.listeners.discard(some)


async def zip_log(
    *, job_id: int, job_uid: UUID, chosen: Filter, form: Callable[[], Form], ending: str
) -> AsyncGenerator[bytes, None]:
    """What is stored now, as a zip file with a file per pod and container."""
    async with hub.current().watching(job_id, job_uid) as feed:
        view = await _view(feed, chosen)
        streams = chosen.of(feed.streams)
    pieces = zipped(view, streams, form, ending)
    while (piece := await in_thread(next, pieces, None)) is not None:
        if piece:  # The compressor may have nothing to give yet.
            yield piece


async def _view(feed: Feed, chosen: Filter) -> View:
    """Streams that appeared since the rows were read come with the next look."""
    wanted = {stream.pk for stream in chosen.of(feed.streams)}
    sources = [source for source in await feed.sources(most_seconds=0) if source.stream in wanted]
    return await in_thread(View, sources, chosen=chosen)


def _has_news(feed: Feed, chosen: Filter, seen: Mapping[int, int]) -> bool:
    return any(row.line_count > seen.get(row.pk, 0) for row in chosen.of(feed.streams))


class _Counted:
    """Lines up to a number, if one is given."""

    def __init__(self, lines: Iterator[Line], left: int | None) -> None:
        self._lines, self.left = lines, left

    def __iter__(self) -> Iterator[Line]:
        for line in self._lines if self.left is None else islice(self._lines, self.left):
            if self.left is not None:
                self.left -= 1
            yield line


async def _pages(lines: _Counted, form: Form) -> AsyncIterator[bytes]:
    pages = written(lines, form)
    while page := await in_thread(next, pages, b""):
        yield page
