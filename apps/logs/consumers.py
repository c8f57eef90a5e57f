"""The live log of a job.

The server sends {"type": "streams", "streams": [{id, pod, container, rank, restart, attempt}]}, then
{"type": "lines", "lines": [{s, n, t, m, k?, x?}]}: the last `?tail=` lines (1,000), then what comes, each (s, n) once.
{"type": "lag", "behind": n} says that the reader is slower than the job and reads on from the store,
{"type": "end"} that nothing more can come; the socket stays, since older lines may still be asked for.

A viewer that returns connects with `?resume=1` and says {"type": "resume", "cursors": {"<stream>": next ordinal}}
before anything is sent. {"type": "before", "cursors": {…}, "count": 500} is answered by {"type": "older", "more": …,
"lines": […]}, {"type": "latest"} by {"type": "reset"} and the tail anew.
"""

import asyncio
import contextlib
from typing import Any
from urllib.parse import parse_qs

import orjson
import structlog
from channels.db import database_sync_to_async

from apps.jobs.models import Job
from apps.projects.consumers import ProjectConsumer

from . import hub, selectors
from .hot import Piece, piece_of
from .models import LogStream
from .viewing import Viewing, frames

TAIL = 1000
LONGEST_TAIL = 10_000
LARGEST_MESSAGE = 64 * 1024
RESUME_SECONDS = 10
ALONE_SECONDS = 0.05  # at most 20 rounds of frames a second
TOGETHER_SECONDS = 0.2  # lines of several pods are merged by time within this window
MALFORMED = 4400
logger = structlog.get_logger(__name__)


class Malformed(ValueError):
    """The viewer sent what no viewer of ours sends."""


class JobLogsConsumer(ProjectConsumer):
    perm = "view_project"
    streaming: "asyncio.Task[None] | None" = None

    def find(self) -> Job | None:
        return selectors.visible_job(self.scope["user"], self.scope["url_route"]["kwargs"]["uid"])

    def group_names(self) -> list[str]:
        return []  # Lines come through the hub; the channel layer only tells when membership changes.

    def snapshot(self) -> dict[str, object]:
        return streams_message(selectors.streams_of(self.watched.pk))

    async def connect(self) -> None:
        try:
            self.tail, self.resumes = _asked(self.scope.get("query_string", b""))
        except Malformed:
            await self.close(code=MALFORMED)
            return
        self.wishes: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=16)
        await super().connect()
        if self.guard is not None:  # welcome
            self.streaming = asyncio.create_task(self.stream())

    async def disconnect(self, code: int) -> None:
        await self.stop_streaming()
        await super().disconnect(code)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Not one line more once access is gone."""
        await self.stop_streaming()
        await super().close(code=code, reason=reason)

    async def stop_streaming(self) -> None:
        task = self.streaming
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(task, return_exceptions=True)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        if text_data is None or len(text_data) > LARGEST_MESSAGE:
            await self.close(code=MALFORMED)
            return
        await super().receive(text_data=text_data, bytes_data=None, **kwargs)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        try:
            self.wishes.put_nowait(_wish(content))
        except (Malformed, asyncio.QueueFull):
            await self.close(code=MALFORMED)
            return
        if client := getattr(self, "client", None):
            client.some.set()

    # -- streaming ---------------------------------------------------------------------------------------------------
    async def stream(self) -> None:
        self.client = await hub.current().join(self.watched.pk, self.watched.uid)
        try:
            await self._stream(Viewing(self.client))
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("log_viewer_failed", job=str(self.watched.uid))
            await self.close(code=1011)
        finally:
            await hub.current().leave(self.client)

    async def _stream(self, viewing: Viewing) -> None:
        self.told = await database_sync_to_async(self.snapshot)()
        await self._begin(viewing)
        has_told_end = False
        while True:
            await self._grant_wishes(viewing)
            await self._tell_streams(viewing)
            ending = viewing.client.feed.has_ended
            await self._send(frames(viewing.take()))
            if viewing.is_behind or (ending and not has_told_end):
                await self._catch_up(viewing)
            if ending and not has_told_end and not viewing.client.missed:
                await self.send('{"type":"end"}')
                has_told_end = True
            await viewing.client.some.wait()
            await asyncio.sleep(ALONE_SECONDS if len(viewing.client.feed.streams) < 2 else TOGETHER_SECONDS)
            viewing.client.some.clear()

    async def _begin(self, viewing: Viewing) -> None:
        if not self.resumes:
            await self._send(frames(await viewing.open_at_tail(self.tail)))
            return
        try:
            async with asyncio.timeout(RESUME_SECONDS):
                wish = await self.wishes.get()
        except TimeoutError:
            wish = {"type": "resume", "cursors": {}}
        viewing.open_at(wish.get("cursors", {}))

    async def _grant_wishes(self, viewing: Viewing) -> None:
        while not self.wishes.empty():
            wish = self.wishes.get_nowait()
            if wish["type"] == "resume":
                viewing.open_at(wish["cursors"])
            elif wish["type"] == "latest":
                await self.send('{"type":"reset"}')
                await self._send(frames(await viewing.open_at_tail(wish["count"])))
            else:
                await self._send_older(await viewing.before(wish["cursors"], wish["count"]), wish["count"])

    async def _send_older(self, pieces: list[Piece], asked: int) -> None:
        """Newest frame first, so that each can be put in front of what the viewer has."""
        more = b"true" if len(pieces) >= asked else b"false"
        sent = list(frames(pieces, f'"type":"older","more":{more.decode()}'))
        await self._send(reversed(sent or [f'{{"type":"older","more":{more.decode()},"lines":[]}}']))

    async def _tell_streams(self, viewing: Viewing) -> None:
        message = streams_message(viewing.client.feed.streams)
        if message != self.told:
            self.told = message
            await self.send(orjson.dumps(message).decode())

    async def _catch_up(self, viewing: Viewing) -> None:
        if viewing.client.missed and (behind := viewing.lag()):
            await self.send(f'{{"type":"lag","behind":{behind}}}')
        async for page in viewing.catch_up():
            await self._send(frames(map(piece_of, page)))

    async def _send(self, messages: Any) -> None:
        for message in messages:
            await self.send(message)


def streams_message(streams: list[LogStream]) -> dict[str, Any]:
    return {
        "type": "streams",
        "streams": [
            {
                "id": stream.pk,
                "pod": stream.pod_name,
                "container": stream.container,
                "rank": stream.rank,
                "restart": stream.restart,
                "attempt": stream.attempt_number,
            }
            for stream in streams
        ],
    }


def _asked(query_string: bytes) -> tuple[int, bool]:
    query = parse_qs(query_string.decode("ascii", "replace"))
    return _number(query.get("tail", [str(TAIL)])[-1]), query.get("resume", ["0"])[-1] == "1"


def _wish(content: Any) -> dict[str, Any]:
    """A message of the viewer with every part checked. Raises Malformed."""
    if not isinstance(content, dict) or content.get("type") not in ("resume", "before", "latest"):
        raise Malformed
    cursors = content.get("cursors", {})
    if not isinstance(cursors, dict) or len(cursors) > 5000:
        raise Malformed
    return {
        "type": content["type"],
        "cursors": {_number(key, 1 << 62): _number(value, 1 << 62) for key, value in cursors.items()},
        "count": _number(content.get("count", 500 if content["type"] == "before" else TAIL)),
    }


def _number(value: Any, most: int = LONGEST_TAIL) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Malformed
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise Malformed
    return min(int(text), most)
