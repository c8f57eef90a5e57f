"""One container run, from its first line to its last: follow, store, ask again after every cut, close the books."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum

import structlog
from django.utils.translation import gettext as _

from apps.clusters.gateway import GatewayError, Invalid, NotFound, Streams

from . import hot, lines, store
from .lines import NoStamp, Record, Splitter
from .models import LogStream
from .replay import Replay
from .services import ContainerRun, Progress

BATCH_SECONDS = 0.1
SOON_SECONDS = 0.05
BATCH_BYTES = 64 * 1024
SILENT_SECONDS = 10  # how long a follow of a dead container may hang before it is given up
LOOK_SECONDS = 1.0
LONGEST_BACK_OFF = 30.0
DOUBT_SECONDS = 1.5
REFUSALS = 5  # how often a dead container's log is asked for before a refusal is believed
logger = structlog.get_logger(__name__)


@dataclass
class Sight:
    """What the watch last said about a container run; `changed` interrupts a back-off."""

    run: ContainerRun
    is_dead: bool = False  # terminated, or its pod is
    is_leaving: bool = False  # the pod has a deletion timestamp
    is_gone: bool = False  # the pod is deleted
    is_replaced: bool = False  # another pod has its name now: its log must not be taken for this one's
    newer_restarts: int = 0  # 1: this is the previous instance; more: the node has forgotten it
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Verdict(Enum):
    AGAIN = "again"
    COMPLETE = "complete"


class Doubtful(Exception):
    """The answer does not continue what is stored; perhaps the container was restarted and this is its successor."""


class Follower:
    def __init__(
        self, *, streams: Streams, sight: Sight, row: LogStream, job_uid: str, publisher: hot.Publisher
    ) -> None:
        self._streams, self.sight, self._row, self.job_uid, self._publisher = streams, sight, row, job_uid, publisher
        self._file: store.Appender | None = None
        self._first_time = row.first_time
        self._failures = self._refusals = 0
        self._trusted = True  # the very first answer is believed
        self._ended_well = self._ended_before = self._brought_news = False
        self._batch: list[Record] = []
        self.is_complete = row.is_complete
        self.is_dirty = False

    @property
    def progress(self) -> Progress:
        """How far the file has come. Call it only while `is_dirty`: then the file was opened."""
        file = self._file
        if file is None:
            raise RuntimeError("the file of this stream was never opened")
        number, size = file.place  # A thread may be writing.
        return Progress(
            stream=self._row.pk,
            lines=number,
            bytes=size,
            first_time=self._first_time,
            last_time=file.last.stamp.decode() if file.last else "",
            latest_time=file.latest.decode(),
            is_complete=self.is_complete,
        )

    async def run(self) -> None:
        """Until the log is complete. Cancelling is safe anywhere: the file says where to go on."""
        try:
            while not self.is_complete:
                self.sight.changed.clear()
                try:
                    if await self._once() is Verdict.COMPLETE:
                        await self._complete()
                        return
                    await self._rest(SOON_SECONDS if self._brought_news else self._delay())
                except Doubtful:
                    self._trusted = True
                    await asyncio.sleep(DOUBT_SECONDS)  # The watch will say whether there was a restart.
                except store.InUse:
                    await asyncio.sleep(self._delay())
                except OSError as error:
                    logger.error("log_not_stored", stream=str(self._row), error=str(error))
                    self._let_go()
                    await asyncio.sleep(self._delay())
                except (GatewayError, NoStamp) as error:
                    logger.info("log_follow_interrupted", stream=str(self._row), error=str(error)[:300])
                    await self._rest(self._delay())
        finally:
            self._let_go()

    # -- one request -------------------------------------------------------------------------------------------------
    async def _once(self) -> Verdict:
        file = await self._open()
        sight = self.sight
        was_dead, restarts = sight.is_dead or sight.newer_restarts > 0, sight.newer_restarts
        if restarts > 1:
            return await self._close_with_gap(_("The container restarted again before this log was read to its end."))
        if sight.is_replaced:
            return await self._vanished()
        self._ended_well = self._brought_news = False
        second = file.since()
        replay = await asyncio.to_thread(Replay, file.stored_since(second) if second else ())
        answer = self._streams.follow_log(
            namespace=sight.run.namespace,
            pod=sight.run.pod_name,
            container=sight.run.container,
            since_time=f"{second.decode()}Z" if second else "",
            previous=restarts == 1,
            follow=not was_dead,
        )
        try:
            await self._take_in(answer, replay, is_final=was_dead, is_certain=restarts == 1)
        except NotFound:
            return await self._vanished()
        except Invalid as error:
            self._refusals += 1
            if was_dead and self._refusals >= REFUSALS:
                return await self._close_with_gap(_("The node no longer has this log: %s") % error)
            raise
        self._refusals = 0
        self._ended_well = True
        if not was_dead:
            return Verdict.AGAIN
        if not replay.met_last:
            await self._say(_("The end of this log could not be confirmed: lines may be missing here."))
        return Verdict.COMPLETE

    async def _vanished(self) -> Verdict:
        """404: the pod is gone. A follow that had ended by itself, of a container that was ending, was whole."""
        if self._ended_before and not self._knows_of_end:
            await self._rest(DOUBT_SECONDS)  # for the watch to say what became of the pod
        if self._ended_before and self._knows_of_end:
            return Verdict.COMPLETE
        return await self._close_with_gap(_("The pod was deleted before the end of its log was collected."))

    @property
    def _knows_of_end(self) -> bool:
        return self.sight.is_dead or self.sight.is_leaving or self.sight.is_gone

    async def _take_in(self, answer: AsyncIterator[bytes], replay: Replay, *, is_final: bool, is_certain: bool) -> None:
        """Store what is new in one answer, in batches of 100 ms or 64 KiB."""
        splitter = Splitter.fresh()
        size, deadline, heard_at = 0, 0.0, time.monotonic()
        pending: asyncio.Future[bytes | None] = asyncio.ensure_future(_next(answer))
        try:
            while True:
                wait = max(0.0, deadline - time.monotonic()) if self._batch else LOOK_SECONDS
                await asyncio.wait({pending}, timeout=wait)
                if pending.done():
                    chunk = pending.result()
                    if chunk is None:
                        break
                    pending = asyncio.ensure_future(_next(answer))
                    heard_at = time.monotonic()
                    if not self._batch:
                        size, deadline = 0, heard_at + BATCH_SECONDS
                    for record in splitter.feed(chunk):
                        size += self._sift(record, replay, is_certain=is_certain)
                        if size >= BATCH_BYTES:
                            await self._flush()
                            size = 0
                elif self._is_hopeless(heard_at):
                    break
                if self._batch and time.monotonic() >= deadline:
                    await self._flush()
                    size = 0
            if is_final:  # Only then is what lacks a newline a whole line.
                for record in splitter.finish():
                    self._sift(record, replay, is_certain=is_certain)
        finally:
            if not pending.done():
                pending.cancel()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await pending
            await answer.aclose()  # type: ignore[attr-defined]
            self._trusted = False
            # What was read is stored even when the connection broke, since it would only be asked for again.
            await self._flush()

    def _sift(self, record: Record, replay: Replay, *, is_certain: bool) -> int:
        """Put a record that is not stored yet into the batch. Returns the bytes that came in. Raises Doubtful."""
        if replay.is_known(record):
            return 0
        new = self._new(record, replay, is_certain=is_certain)
        self._batch += new
        return sum(len(each.text) + lines.HEAD for each in new)

    def _new(self, record: Record, replay: Replay, *, is_certain: bool) -> list[Record]:
        """The record to store, after a gap row when it does not continue what is stored. Raises Doubtful."""
        continues = replay.met_last and self._file is not None and self._file.last is not None
        if not (self._trusted or is_certain or continues):
            raise Doubtful
        if not self._brought_news:
            self._trusted = self._brought_news = True
            self._failures = 0
        if replay.met_last:
            return [record]
        replay.met_last = True
        if self._file is not None and self._file.ends_with_gap:
            return [record]
        sentence = _("Lines may be missing here: the node no longer had the place where collecting was interrupted.")
        return [lines.gap(record.stamp, sentence), record]

    def _is_hopeless(self, silent_since: float) -> bool:
        """A follow that hangs although its container is dead: a node that was lost, a proxy that forgot."""
        over = self.sight.is_dead or self.sight.is_gone or self.sight.newer_restarts > 0
        return over and time.monotonic() - silent_since > SILENT_SECONDS

    # -- the file ----------------------------------------------------------------------------------------------------
    async def _open(self) -> store.Appender:
        self._ended_before = self._ended_well
        if self._file is None or self._file.is_closed:
            latest = self._row.latest_time.encode()
            opening = asyncio.create_task(asyncio.to_thread(store.Appender, self._row.source, latest=latest))
            try:
                self._file = await asyncio.shield(opening)
            except asyncio.CancelledError:
                opening.add_done_callback(_close_unused)  # The thread goes on; it must not keep the file's lock.
                raise
            if not self._first_time and self._file.lines:  # Stored by a collector that did not live to note it.
                (first,) = await asyncio.to_thread(store.read, self._file.source, 0, 1)
                self._first_time = first.stamp.decode()
            self.is_dirty = True
        return self._file

    async def _flush(self) -> None:
        """Store the batch, then announce it. It is taken first, so that an interrupted writing is not repeated."""
        batch, self._batch = self._batch, []
        file = self._file
        if not batch or file is None:
            return
        first = file.lines
        try:
            await asyncio.to_thread(file.append, batch)
        finally:  # Cancelled, the thread may still write it: whoever looks after `_let_go` sees what became of it.
            self.is_dirty = True
        self._first_time = self._first_time or batch[0].stamp.decode()
        self._publisher.offer(self.job_uid, hot.encode(self._row.pk, first, batch))

    async def _say(self, sentence: str) -> None:
        """Write a gap row after the last line."""
        last = self._file.last if self._file else None
        self._batch.append(lines.gap(last.stamp if last else now(), sentence))
        await self._flush()

    async def _close_with_gap(self, sentence: str) -> Verdict:
        if self._file is not None and not self._file.ends_with_gap:
            await self._say(sentence)
        return Verdict.COMPLETE

    async def _complete(self) -> None:
        if self._file is not None:
            await asyncio.to_thread(self._file.sync)
        self.is_complete = self.is_dirty = True

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            if not self.is_complete:
                self._row.line_count, self._row.byte_count = self._file.place
                self._row.latest_time = self._file.latest.decode()

    # -- waiting -----------------------------------------------------------------------------------------------------
    def _delay(self) -> float:
        self._failures += 1
        return random.uniform(0.5, 1) * min(LONGEST_BACK_OFF, 0.25 * 2 ** min(self._failures, 8))  # noqa: S311

    async def _rest(self, seconds: float) -> None:
        """Wait, unless the watch has news of this container."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.sight.changed.wait()


def _close_unused(opening: asyncio.Task[store.Appender]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def _next(answer: AsyncIterator[bytes]) -> bytes | None:
    return await anext(answer, None)


def now() -> bytes:
    nanoseconds = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9))
    return f"{seconds}.{nanoseconds % 10**9:09d}Z".encode()
