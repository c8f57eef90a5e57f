"""A job's log as bytes for a program: chosen, merged by time, streamed in pages of about 64 KiB, lines whole."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from channels.db import database_sync_to_async

from . import hub, selectors, store
from .lines import GAP, KIND_WORDS, PART, Line
from .models import LogStream

PAGE_BYTES = 64 * 1024
WINDOW_SECONDS = 0.2  # lines of several pods that arrive together are merged by time within it
Writer = Callable[[Line], bytes]


@dataclass(frozen=True)
class Choice:
    """Which lines: all of them by default. `tail` counts over everything chosen."""

    pod: str = ""
    container: str = ""
    since: bytes = b""
    tail: int | None = None

    def streams(self, streams: Iterable[LogStream]) -> list[LogStream]:
        return [stream for stream in streams if self._has(stream)]

    def _has(self, stream: LogStream) -> bool:
        named = not self.pod or self.pod in (stream.pod_name, str(stream.rank))
        return named and self.container in ("", stream.container)

    def wants(self, line: Line) -> bool:
        return line.stamp >= self.since


async def stream_log(
    *, job_id: int, job_uid: UUID, choice: Choice, follow: bool, writer: Callable[[list[LogStream]], Writer]
) -> AsyncGenerator[bytes, None]:
    """The chosen lines; with `follow` until the job has ended. Closing the iterator frees everything it holds."""
    if not follow:
        streams = choice.streams(await database_sync_to_async(selectors.streams_of)(job_id))
        seen: dict[int, int] = {}
        async for page in _pages(streams, choice, seen, writer, choice.tail):
            yield page
        return
    client = await hub.current().join(job_id, job_uid)
    try:
        seen, tail = {}, choice.tail
        while True:
            client.some.clear()
            client.drain()  # The store has it all, and whole.
            ending = client.feed.has_ended
            streams = choice.streams(client.feed.streams)
            async for page in _pages(streams, choice, seen, writer, tail):
                yield page
            if ending:
                return
            tail = None
            await client.some.wait()
            await asyncio.sleep(WINDOW_SECONDS)
    finally:
        await hub.current().leave(client)


async def _pages(
    streams: list[LogStream],
    choice: Choice,
    seen: dict[int, int],
    writer: Callable[[list[LogStream]], Writer],
    tail: int | None,
) -> AsyncIterator[bytes]:
    """From what was `seen` to what is stored now, `seen` being moved along."""
    sources = [stream.source for stream in streams]
    ends = await asyncio.to_thread(selectors.counts, sources)
    lines = await asyncio.to_thread(_lines, sources, choice, dict(seen), ends, tail)
    seen.update(ends)
    write = writer(streams)
    while page := await asyncio.to_thread(_page, lines, write):
        yield page


def _lines(
    sources: list[store.Source], choice: Choice, starts: Mapping[int, int], ends: Mapping[int, int], tail: int | None
) -> Iterator[Line]:
    if tail is not None:
        return iter(selectors.newest(sources, ends, tail, choice.wants))
    return filter(choice.wants, selectors.merged(sources, starts, ends))


def _page(lines: Iterator[Line], write: Writer) -> bytes:
    page = bytearray()
    for line in lines:
        page += write(line)
        if len(page) >= PAGE_BYTES:
            break
    return bytes(page)


# -- forms -----------------------------------------------------------------------------------------------------------
def as_text(*, timestamps: bool) -> Callable[[list[LogStream]], Writer]:
    """Lines as the containers wrote them; with `[pod]` or `[rank]` in front when there are several streams.

    A gap row stands between dashes, so that it is not taken for the container's.
    """

    def writer(streams: list[LogStream]) -> Writer:
        names = {stream.pk: f"[{_name_of(stream, streams)}] ".encode() for stream in streams}
        if len(streams) < 2:
            names = dict.fromkeys(names, b"")
        inside: set[int] = set()  # streams whose long line is not finished

        def write(line: Line) -> bytes:
            head = names[line.stream] + (line.stamp + b" " if timestamps else b"")
            continues = line.stream in inside
            inside.discard(line.stream)
            if line.kind == GAP:
                return (b"\n" if continues else b"") + head + b"--- " + line.text + b" ---\n"
            if line.kind == PART:
                inside.add(line.stream)
            return (b"" if continues else head) + line.text + (b"" if line.kind == PART else b"\n")

        return write

    return writer


def _name_of(stream: LogStream, streams: list[LogStream]) -> str:
    """The shortest name that tells it from the others."""
    pod = stream.pod_name if stream.rank is None else str(stream.rank)
    several = {other.container for other in streams if other.pod_uid == stream.pod_uid} != {stream.container}
    return pod + (f"/{stream.container}" if several else "") + (f"#{stream.restart}" if stream.restart else "")


def as_ndjson() -> Callable[[list[LogStream]], Writer]:
    """One object a line: time, pod, container, rank, restart, attempt, line (its number), text, and kind if special."""

    def writer(streams: list[LogStream]) -> Writer:
        heads: dict[int, dict[str, Any]] = {
            stream.pk: {
                "pod": stream.pod_name,
                "container": stream.container,
                "rank": stream.rank,
                "restart": stream.restart,
                "attempt": stream.attempt_number,
            }
            for stream in streams
        }

        def write(line: Line) -> bytes:
            message = {
                "time": line.stamp.decode(),
                **heads[line.stream],
                "line": line.ordinal,
                "text": line.text.decode("utf-8", "replace"),
            }
            if word := KIND_WORDS.get(line.kind.decode()):
                message["kind"] = word
            return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)

        return write

    return writer
