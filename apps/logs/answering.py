"""What a viewer is answered, beside the lines that come by themselves."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import orjson
import structlog

from .asking import Find, More, Resume, Show, Whole, Wish
from .filters import ERROR
from .framing import frame, members, message
from .hot import piece_of
from .lines import Line
from .models import LogStream
from .needle import Needle
from .threads import in_search
from .viewing import Viewing
from .windows import Stopped, View, Window

FIND_SECONDS, READ_SECONDS = 10.0, 20.0  # how long one search may take before the viewer is told that it is too much
MUCH_MISSED = 200_000  # lines: a viewer that returns after more begins at the tail
logger = structlog.get_logger(__name__)
Send = Callable[[str], Awaitable[None]]


class Answers:
    def __init__(self, viewing: Viewing, send: Send, told: dict[str, Any]) -> None:
        """`told` is the message about streams that the door has sent."""
        self._viewing, self._send = viewing, send
        self._told_version, self._told = 0, _lasting(told)
        self._has_told_end = False
        self._finding: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._finding is not None:
            self._finding.cancel()
            await asyncio.gather(self._finding, return_exceptions=True)
            self._finding = None

    # -- unasked -----------------------------------------------------------------------------------------------------
    async def tell_streams(self) -> None:
        feed = self._viewing.feed
        if feed.version == self._told_version:
            return
        self._told_version = feed.version
        message_ = streams_message(feed.streams, feed.failed_pods)
        if (lasting := _lasting(message_)) != self._told:
            self._told = lasting
            await self._send(orjson.dumps(message_).decode())

    async def tell_end(self) -> None:
        viewing = self._viewing
        is_over = viewing.feed.has_ended and not (viewing.is_live and viewing.lacks_stored)
        if is_over and not self._has_told_end:
            self._has_told_end = True
            await self._send('{"type":"end"}')

    async def tail(self, count: int) -> None:
        for text in await self._viewing.tail(count):
            await self._send(text)

    # -- asked -------------------------------------------------------------------------------------------------------
    async def grant(self, wish: Wish) -> None:
        match wish:
            case Resume():
                await self._resume(wish)
            case Show():
                await self._show(wish)
            case More():
                await self._more(wish)
            case Whole():
                await self._whole(wish)
            case Find():
                await self.close()  # Who looks for something else no longer wants the last answer.
                self._finding = asyncio.create_task(self._find(wish))

    async def _resume(self, wish: Resume) -> None:
        self._viewing.choose(wish.chosen)
        self._viewing.open_at(wish.cursors)
        if self._viewing.behind > MUCH_MISSED:
            await self._show(Show(edge="tail"))

    async def _show(self, wish: Show) -> None:
        await self.close()
        if wish.chosen is not None:
            self._viewing.choose(wish.chosen)
        feed = self._viewing.feed
        failed = {row.pk for row in feed.streams if row.pod_uid in feed.failed_pods}
        await self._send(message("reset", id=wish.id))
        window = await self._viewing.window(lambda view: _read(view, wish, failed), _until(READ_SECONDS))
        head = members("window", id=wish.id, before=window.before, after=window.after, focus=window.focus)
        await self._send(frame(_data(window.lines), head + (',"busy":true' if window.is_partial else "")))

    async def _more(self, wish: More) -> None:
        """Older lines go out newest frame first, so that each can be put in front of what the viewer has."""
        kind, read = ("older", self._viewing.before) if wish.is_older else ("newer", self._viewing.after)
        try:
            lines, more = await read(wish.cursors, wish.count, _until(READ_SECONDS))
        except Stopped:
            await self._send(message(kind, lines=[], more=False, busy=True))
            return
        batches = _batches(lines)
        for number, batch in enumerate(batches[::-1] if wish.is_older else batches, 1):
            await self._send(frame(_data(batch), members(kind, more=more or number < len(batches))))

    async def _whole(self, wish: Whole) -> None:
        stream, ordinal = wish.line
        line = await self._viewing.line(stream, ordinal)
        text = None if line is None else line.text.decode("utf-8", "replace")
        await self._send(message("whole", s=stream, n=ordinal, m=text))

    async def _find(self, wish: Find) -> None:
        over, task = _until(FIND_SECONDS), asyncio.current_task()
        try:
            view = await self._viewing.view(lambda: over() or bool(task and task.cancelling()))
            line, is_wrapped = await in_search(view.find, wish.needle, wish.place, wish.direction)
        except Exception as error:
            if not isinstance(error, Stopped):
                logger.exception("log_search_failed")
            await self._send(message("found", id=wish.id, line=None, wrapped=False, busy=True))
            return
        found = b"null" if line is None else piece_of(line).data
        await self._send(f'{{{members("found", id=wish.id, wrapped=is_wrapped)},"line":{found.decode()}}}')


def _read(view: View, wish: Show, failed: set[int]) -> Window:
    if wish.line is not None:
        return view.at_line(*wish.line, wish.count)
    if wish.time:
        return view.at_time(wish.time, wish.count)
    if wish.edge == "error" and (line := first_error(view, failed)) is not None:
        return view.around(view.place(line), wish.count, (line.stream, line.ordinal))
    return view.head(wish.count) if wish.edge == "head" else view.tail(wish.count)


def first_error(view: View, failed: set[int]) -> Line | None:
    """The first line that looks like an error: of the streams that failed, else of any."""
    needle = Needle(ERROR, regex=True, case=True)
    streams = failed & view.sources.keys()
    line = next(view.only(streams).forwards({}, needle=needle), None) if streams else None
    return line or next(view.only(view.sources.keys() - streams).forwards({}, needle=needle), None)


def streams_message(streams: list[LogStream], failed_pods: frozenset[str]) -> dict[str, Any]:
    return {"type": "streams", "streams": [_stream(stream, failed_pods) for stream in streams]}


def _stream(stream: LogStream, failed_pods: frozenset[str]) -> dict[str, Any]:
    told = {
        "id": stream.pk,
        "pod": stream.pod_name,
        "container": stream.container,
        "rank": stream.rank,
        "restart": stream.restart,
        "attempt": stream.attempt_number,
        "lines": stream.line_count,
    }
    return told | {"failed": True} if stream.pod_uid in failed_pods else told


def _lasting(message_: dict[str, Any]) -> list[dict[str, Any]]:
    """What is told again when it changes: all but the numbers of lines."""
    return [{**stream, "lines": 0} for stream in message_["streams"]]


def _until(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _data(lines: Iterable[Line]) -> list[bytes]:
    return [piece_of(line).data for line in lines]


def _batches(lines: list[Line]) -> list[list[Line]]:
    """At least one, so that a question is always answered."""
    size = 200
    return [lines[at : at + size] for at in range(0, len(lines), size)] or [[]]
