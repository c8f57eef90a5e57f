"""One container run, from its first line to its last: follow, store, ask again after every cut, close the books.

A follow that ends is a normal event. What else a node may do to a follow is not told in its bytes. It may fall silent:
then it is probed. It may leave out whole files that were rotated while nobody read: each of them is at least one
rotation interval of time, so a gap row stands before lines that jump further while the follow was not simply quiet.
What a slow reader still holds in its sockets is read, not asked for again: the node may not have it any more.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.utils.translation import gettext as _

from apps.clusters.gateway import Forbidden, GatewayError, Invalid, NotFound, Streams

from . import hot, selectors
from .budget import Budget, Priority
from .counters import Counters
from .journal import Journal
from .lines import STAMP, Gap, NoStamp, Splitter, moment_of, raw_records
from .models import LogStream
from .replay import Replay
from .services import ContainerRun
from .store import Source
from .tails import Tail

SOON_SECONDS = 0.05
SILENT_SECONDS = 10  # how long a follow of a dead container may hang before it is given up
LONGEST_BACK_OFF = 30.0
DOUBT_SECONDS = 1.5
REFUSALS = 5  # how often a dead container's log is asked for before a refusal is believed
PROBE_SECONDS, LONGEST_PROBE_SECONDS = 15.0, 300.0  # silence before a follow is probed; doubled while it is confirmed
STALLED = "Lines may be missing here: for a while nobody read, and the node may have rotated the log meanwhile."
CLOCK_SECONDS = 5.0  # how far a node's clock may be from ours
POLL_SECONDS, POLLING_SECONDS = 1.0, 60.0
NO_ROOM = ("fsnotify", "inotify", "too many open files")
logger = structlog.get_logger(__name__)


class Masker(Protocol):
    def apply(self, body: bytes) -> bytes: ...


class Publisher(Protocol):
    def offer(self, job_uid: str, payload: bytes) -> None: ...


@dataclass
class Sight:
    """What the watch last said about a container run; `changed` interrupts a back-off."""

    run: ContainerRun
    is_dead: bool = False  # terminated, or its pod is
    has_failed: bool = False
    is_leaving: bool = False  # the pod has a deletion timestamp
    is_gone: bool = False  # the pod is deleted
    is_replaced: bool = False  # another pod has its name now: its log must not be taken for this one's
    newer_restarts: int = 0  # 1: this is the previous instance; more: the node has forgotten it
    may_follow: bool = True  # its node has room for one more follow
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def priority(self) -> Priority:
        return Priority(not self.has_failed, self.run.rank or 0)


@dataclass(frozen=True)
class Desk:
    """What the followers of one collector share."""

    streams: Streams
    journal: Journal
    publisher: Publisher
    budget: Budget
    counters: Counters
    pace: "Pace"
    pulse: "Pulse"


@dataclass
class Pulse:
    """Whether this process has run: a stopped one cannot know how long it waited for a line."""

    every: float = 1.0
    beaten_at: float = field(default_factory=time.monotonic)
    missed_at: float = 0.0

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            await asyncio.sleep(self.every)
            self.beat()

    def beat(self) -> None:
        now = time.monotonic()
        if now - self.beaten_at > 2 * self.every:
            self.missed_at = now
        self.beaten_at = now

    def missed_since(self, at: float) -> bool:
        return self.missed_at >= at or time.monotonic() - self.beaten_at > 2 * self.every


@dataclass
class Pace:
    """How long a follower lets lines gather before it takes them: the more follows, the longer, 10 to 100 ms."""

    follows: int = 0

    @property
    def seconds(self) -> float:
        return min(0.1, max(0.01, self.follows * 0.0002))


class Verdict(Enum):
    AGAIN = "again"
    AT_ONCE = "at once"
    COMPLETE = "complete"


class Doubtful(Exception):
    """The answer does not continue what is stored; perhaps the container was restarted and this is its successor."""


class Follower:
    def __init__(self, *, desk: Desk, sight: Sight, row: LogStream, job_uid: str, masker: Masker) -> None:
        self._desk, self.sight, self._row, self._masker = desk, sight, row, masker
        self.tail = Tail.of(row, job_uid)
        self._failures = self._refusals = 0
        self._trusted = True  # the very first answer is believed
        self._ended_well = self._ended_before = self._brought_news = False
        self._reading: asyncio.Task[None] | None = None
        self._polls_until = 0.0
        self._opened_at = time.time()  # the present follow
        self._waited = 0.0  # seconds that the present chunk was waited for
        self._least_lag = float("inf")  # between the node's clock and ours, as the freshest lines show it
        self.heard_at = time.monotonic()
        self.probe_after = PROBE_SECONDS
        self.lag = 0.0
        self.is_complete = row.is_complete
        self.is_following = False

    async def run(self) -> None:
        """Until the log is complete or another collector has it. Cancelling is safe anywhere: the rows say where to
        go on."""
        if self.tail.next:
            self.tail.ends_with_gap = await database_sync_to_async(selectors.ends_with_gap)(self._row)
        while not (self.is_complete or self.tail.is_lost):
            self.sight.changed.clear()
            try:
                verdict = await self._once()
                if verdict is Verdict.COMPLETE:
                    await self._desk.journal.finish(self.tail)
                    self.is_complete = not self.tail.is_lost
                    return
                self._desk.counters.reconnects += 1
                if verdict is Verdict.AGAIN:
                    await self._rest(SOON_SECONDS if self._brought_news else self._delay())
            except Doubtful:
                self._trusted = True
                await asyncio.sleep(DOUBT_SECONDS)  # The watch will say whether there was a restart.
            except NoStamp as error:
                if self._hear_node(error) is Verdict.COMPLETE:
                    await self._desk.journal.finish(self.tail)
                    self.is_complete = not self.tail.is_lost
                    return
                await self._rest(POLL_SECONDS if self.is_polling else self._delay())
            except GatewayError as error:
                if any(word in str(error) for word in NO_ROOM):
                    self._polls_until = time.monotonic() + POLLING_SECONDS
                else:
                    logger.info("log_follow_interrupted", stream=self.tail.label, error=str(error)[:300])
                await self._rest(self._delay())

    @property
    def is_polling(self) -> bool:
        return not self.sight.may_follow or time.monotonic() < self._polls_until

    def interrupt(self) -> None:
        """Close the present answer and ask again: called by the collector's watch over all followers."""
        if self._reading is not None:
            self._reading.cancel()

    # -- one request -------------------------------------------------------------------------------------------------
    async def _once(self) -> Verdict:
        self._ended_before = self._ended_well
        sight = self.sight
        was_dead, restarts = sight.is_dead or sight.newer_restarts > 0, sight.newer_restarts
        if restarts > 1:
            return self._close("restart", _("The container restarted again before this log was read to its end."))
        if sight.is_replaced:
            return await self._vanished()
        self._ended_well = self._brought_news = False
        second = self.tail.since()
        replay = Replay(await self._stored_since(second) if second else ())
        await self._desk.budget.turn(sight.priority)
        is_polling = self.is_polling
        answer = self._desk.streams.follow_log(
            namespace=sight.run.namespace,
            pod=sight.run.pod_name,
            container=sight.run.container,
            since_time=f"{second.decode()}Z" if second else "",
            previous=restarts == 1,
            follow=not (was_dead or is_polling),
        )
        try:
            if not await self._read(answer, replay, is_final=was_dead, is_certain=restarts == 1):
                return Verdict.AT_ONCE
        except NotFound:
            return await self._vanished()
        except Forbidden as error:
            if self.sight.is_gone and error.status == 403:  # Rights are asked before whether the pod is there.
                return self._close("unreadable", _("Cube was not allowed to read this log: %s") % error)
            raise
        except Invalid as error:
            self._refusals += 1
            if was_dead and self._refusals >= REFUSALS:
                return self._close("unreadable", _("The node no longer has this log: %s") % error)
            raise
        self._refusals = 0
        if not was_dead:
            # A poll answers what there is: it tells nothing of the container's end.
            self._ended_well = not is_polling
            if is_polling:
                await self._rest(POLL_SECONDS)
                return Verdict.AT_ONCE
            return Verdict.AGAIN
        self._ended_well = True
        if not replay.met_last:
            self._say(
                self.tail.gap("rotation", _("The end of this log could not be confirmed: lines may be missing here."))
            )
        return Verdict.COMPLETE

    async def _stored_since(self, second: bytes) -> list[bytes]:
        await self._desk.journal.flushed(self.tail)
        source: Source = await database_sync_to_async(selectors.source_of)(self._row)
        return await asyncio.to_thread(self.tail.stored_since, source, second)

    async def _vanished(self) -> Verdict:
        """404: the pod is gone. A follow that had ended by itself, of a container that was ending, was whole."""
        if self._ended_before and not self._knows_of_end:
            await self._rest(DOUBT_SECONDS)  # for the watch to say what became of the pod
        if self._ended_before and self._knows_of_end:
            return Verdict.COMPLETE
        return self._close("deleted", _("The pod was deleted before the end of its log was collected."))

    @property
    def _knows_of_end(self) -> bool:
        return self.sight.is_dead or self.sight.is_leaving or self.sight.is_gone

    async def _read(self, answer: AsyncIterator[bytes], replay: Replay, *, is_final: bool, is_certain: bool) -> bool:
        """Store what is new in one answer. False when it was interrupted."""
        self._reading = asyncio.create_task(self._take_in(answer, replay, is_final=is_final, is_certain=is_certain))
        self.is_following = not is_final
        self._desk.pace.follows += 1
        try:
            await asyncio.wait({self._reading})
        finally:
            self._desk.pace.follows -= 1
            self.is_following = False
            reading, self._reading = self._reading, None
            reading.cancel()  # Does nothing to one that is done.
            await asyncio.wait({reading})
            self._trusted = False
        if reading.cancelled():
            return False
        reading.result()
        return True

    async def _take_in(self, answer: AsyncIterator[bytes], replay: Replay, *, is_final: bool, is_certain: bool) -> None:
        splitter = Splitter()
        self._opened_at, self._least_lag = time.time(), float("inf")
        self.heard_at = idle_from = time.monotonic()
        pace, pulse = self._desk.pace, self._desk.pulse
        try:
            async for chunk in answer:
                self.heard_at = time.monotonic()
                self._waited = 0.0 if pulse.missed_since(idle_from) else self.heard_at - idle_from
                try:
                    body = splitter.feed(chunk)
                except NoStamp as error:
                    self._accept(error.before, replay, is_certain=is_certain)
                    raise
                self._accept(body, replay, is_certain=is_certain)
                if self.tail.is_lost:
                    return
                await self._desk.journal.room()
                await asyncio.sleep(pace.seconds)
                idle_from = time.monotonic()
            if is_final:  # Only then is what lacks a newline a whole line.
                self._accept(splitter.finish(), replay, is_certain=is_certain)
        finally:
            await answer.aclose()  # type: ignore[attr-defined]

    def _accept(self, body: bytes, replay: Replay, *, is_certain: bool) -> None:
        """Store and announce what is new in a body. Raises Doubtful."""
        body = self._masker.apply(body) if body else body
        if not replay.is_over:
            body = replay.new_part(body)
        if not body:
            return
        tail = self.tail
        gaps: list[tuple[int, Gap]] = []
        if not self._brought_news:
            continues = replay.met_last and bool(tail.last)
            if not (self._trusted or is_certain or continues):
                raise Doubtful
            self._trusted = self._brought_news = True
            self._failures = 0
        if not replay.met_last:
            replay.met_last = True
            if not tail.ends_with_gap:
                sentence = _("Lines may be missing here: the node no longer had the place where collecting was cut.")
                gap = tail.gap("rotation", sentence, until=body[:STAMP])
                gaps.append((tail.next, gap))
                body = gap.record(body[:STAMP]).encode() + body
        elif self.is_following:
            body, gaps = self._marked(body)
        self._store(body, gaps)
        self.probe_after = PROBE_SECONDS
        self._note_lag()

    def _marked(self, body: bytes) -> tuple[bytes, list[tuple[int, Gap]]]:
        """The body with a gap row before each jump in time that may hide a rotated file, and those gaps."""
        limit, tail = doubt_seconds(), self.tail
        before, waited = tail.last or body[:STAMP], self._waited
        last = body[body.rfind(b"\n", 0, -1) + 1 :][:STAMP]
        if time.time() - self._opened_at < limit or moment_of(last) - moment_of(before) - waited <= limit:
            return body, []
        records, gaps = [], []
        for raw in raw_records(body):
            stamp = raw[:STAMP]
            moment = moment_of(stamp)
            # What was written before the follow was opened lies in one file.
            if moment - moment_of(before) - waited > limit and moment > self._opened_at - CLOCK_SECONDS:
                gap = Gap("stalled", _(STALLED), since=before.decode(), until=stamp.decode())
                gaps.append((tail.next + len(records), gap))
                records.append(gap.record(stamp).encode()[:-1])
            records.append(raw)
            before, waited = stamp, 0.0
        return b"\n".join([*records, b""]), gaps

    def _store(self, body: bytes, gaps: list[tuple[int, Gap]]) -> None:
        tail, first = self.tail, self.tail.next
        count = self._desk.journal.append(tail, body, gaps=gaps)
        self._desk.counters.gaps += len(gaps)
        self._desk.publisher.offer(tail.job_uid, hot.encode(tail.stream, tail.epoch, first, count, body))

    def _note_lag(self) -> None:
        behind = time.time() - moment_of(self.tail.last)
        self._least_lag = min(self._least_lag, behind)
        self.lag = behind - self._least_lag

    # -- what the collector asks -------------------------------------------------------------------------------------
    def is_hopeless(self, now: float) -> bool:
        """A follow that hangs although its container is dead: a node that was lost, a proxy that forgot."""
        over = self.sight.is_dead or self.sight.is_gone or self.sight.newer_restarts > 0
        return self.is_following and over and now - self.heard_at > SILENT_SECONDS

    def is_due_for_probe(self, now: float) -> bool:
        return self.is_following and now - self.heard_at > self.probe_after

    async def probe(self) -> None:
        """Ask for the last line: a follow that is silent while its container writes is asked for again."""
        self.probe_after = min(LONGEST_PROBE_SECONDS, 2 * self.probe_after)
        run = self.sight.run
        with contextlib.suppress(GatewayError, NoStamp):
            await self._desk.budget.turn(self.sight.priority)
            splitter, body = Splitter(), b""
            async for chunk in self._desk.streams.follow_log(
                namespace=run.namespace, pod=run.pod_name, container=run.container, follow=False, tail_lines=1
            ):
                body += splitter.feed(chunk)
            if body and body[:STAMP] > self.tail.latest and time.monotonic() - self.heard_at > PROBE_SECONDS / 2:
                logger.warning("log_follow_was_silent", stream=self.tail.label)
                self.interrupt()

    # -- notes of ours -----------------------------------------------------------------------------------------------
    def _close(self, cause: str, sentence: str) -> Verdict:
        if not self.tail.ends_with_gap:
            self._say(self.tail.gap(cause, sentence))
        return Verdict.COMPLETE

    def _say(self, gap: Gap) -> None:
        """Write a gap row after the last line."""
        self._store(gap.record(self.tail.last or now()).encode(), [(self.tail.next, gap)])

    def _hear_node(self, error: NoStamp) -> Verdict:
        """The node said something in place of a line; of a dead container's log it is believed in the end."""
        logger.info("log_follow_interrupted", stream=self.tail.label, error=str(error)[:300])
        if any(word in str(error) for word in NO_ROOM):
            self._polls_until = time.monotonic() + POLLING_SECONDS
            return Verdict.AGAIN
        self._refusals += 1
        if self.sight.is_dead and self._refusals >= REFUSALS:
            return self._close("unreadable", _("The node could not read this log: %s") % str(error)[:300])
        return Verdict.AGAIN

    # -- waiting -----------------------------------------------------------------------------------------------------
    def _delay(self) -> float:
        self._failures += 1
        return random.uniform(0.5, 1) * min(LONGEST_BACK_OFF, 0.25 * 2 ** min(self._failures, 8))  # noqa: S311

    async def _rest(self, seconds: float) -> None:
        """Wait, unless the watch has news of this container."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.sight.changed.wait()


def doubt_seconds() -> float:
    """A node that looks for logs to rotate every N seconds cannot hide a whole file in less."""
    return 0.8 * float(settings.CUBE_LOG_ROTATION_SECONDS)


def now() -> bytes:
    nanoseconds = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9))
    return f"{seconds}.{nanoseconds % 10**9:09d}Z".encode()
