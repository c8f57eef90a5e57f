"""The live log of a job: `ws/jobs/<uid>/logs/`. docs/logs.md holds every message.

It begins with {"type": "streams"} and the last `?tail=` lines (1,000) as {"type": "lines"}, then what comes, each
(s, n) once. A viewer that returns connects with `?resume=1` and names its cursors before anything is sent.
"""

import asyncio
import contextlib
from typing import Any
from urllib.parse import parse_qs

import structlog

from apps.jobs.models import Job
from apps.projects.consumers import ProjectConsumer

from . import hub, selectors
from .answering import Answers, streams_message
from .asking import MOST_LINES, TAIL, Malformed, Refused, Resume, Wish, number, parse
from .framing import message
from .viewing import Viewing

LARGEST_MESSAGE = 64 * 1024
RESUME_SECONDS = 10
AGAIN_SECONDS = 0.3  # between looks for lines that were announced and are not stored yet
MALFORMED = 4400
logger = structlog.get_logger(__name__)


class JobLogsConsumer(ProjectConsumer):
    perm = "view_project"
    streaming: "asyncio.Task[None] | None" = None

    def find(self) -> Job | None:
        return selectors.visible_job(self.scope["user"], self.scope["url_route"]["kwargs"]["uid"])

    def group_names(self) -> list[str]:
        return []  # Lines come through the hub; the channel layer only tells when membership changes.

    def snapshot(self) -> dict[str, object]:
        job_id = self.watched.pk
        self.told = streams_message(selectors.streams_of(job_id), selectors.failed_pods_of(job_id))
        return self.told

    # -- the door ----------------------------------------------------------------------------------------------------
    async def connect(self) -> None:
        try:
            self.tail, self.resumes = _asked(self.scope.get("query_string", b""))
        except Malformed:
            await self.close(code=MALFORMED)
            return
        self.wishes: asyncio.Queue[Wish] = asyncio.Queue(maxsize=16)
        self.some = asyncio.Event()
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
            self.wishes.put_nowait(parse(content))
        except Refused as refusal:
            await self.send(message("refused", id=refusal.id, field=refusal.field, message=str(refusal)))
        except (Malformed, asyncio.QueueFull):
            await self.close(code=MALFORMED)
        self.some.set()

    # -- streaming ---------------------------------------------------------------------------------------------------
    async def stream(self) -> None:
        try:
            async with hub.current().watching(self.watched.pk, self.watched.uid) as feed:
                viewing = Viewing(feed, self.some)
                try:
                    feed.listeners.add(self.some)
                    await self._stream(viewing, Answers(viewing, self.send, self.told))
                finally:
                    feed.listeners.discard(self.some)
                    viewing.close()
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("log_viewer_failed", job=str(self.watched.uid))
            await self.close(code=1011)

    async def _stream(self, viewing: Viewing, answers: Answers) -> None:
        try:
            await answers.tell_streams()
            await self._begin(viewing, answers)
            while True:
                self.some.clear()
                while not self.wishes.empty():
                    await answers.grant(self.wishes.get_nowait())
                await answers.tell_streams()
                async for text in viewing.news(lambda: not self.wishes.empty()):
                    await self.send(text)
                await answers.tell_end()
                await self._wait(viewing)
        finally:
            await answers.close()

    async def _wait(self, viewing: Viewing) -> None:
        if not viewing.waits_for_store:
            await self.some.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_SECONDS):
                await self.some.wait()
        await asyncio.sleep(AGAIN_SECONDS / 3)  # Others' lines keep coming, and must not make this a busy loop.

    async def _begin(self, viewing: Viewing, answers: Answers) -> None:
        if not self.resumes:
            await answers.tail(self.tail)
            return
        wish: Wish = Resume({}, viewing.chosen)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RESUME_SECONDS):
                wish = await self.wishes.get()
        await answers.grant(wish)


def _asked(query_string: bytes) -> tuple[int, bool]:
    query = parse_qs(query_string.decode("ascii", "replace"))
    return min(MOST_LINES, number(query.get("tail", [str(TAIL)])[-1])), query.get("resume", ["0"])[-1] == "1"
