"""The hot path: what was just stored, handed to every web process through a Redis stream per job.

Batches go out after they are in the store, so losing one costs a reader a look into the store and nothing else.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

import orjson
import redis.asyncio as redis
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from .lines import KIND_WORDS, LIVE_TEXT_BYTES, Line, Record, shown

KEPT_BATCHES = 2000
EXPIRE_SECONDS = 3600
QUEUED_BYTES = 8 * 1024 * 1024
PER_ROUND = 200
PAUSE_SECONDS = 1.0
logger = structlog.get_logger(__name__)


class Piece(NamedTuple):
    """A line ready for a socket: `data` is its JSON, made once per process however many people watch."""

    stream: int
    ordinal: int
    stamp: str
    data: bytes


class Batch(NamedTuple):
    """Lines of one stream in a row. Without lines it says: look at the rows again."""

    stream: int
    first: int
    pieces: list[Piece]
    size: int

    @property
    def end(self) -> int:
        return self.first + len(self.pieces)


def piece_of(line: Line) -> Piece:
    return _piece(line.stream, line.ordinal, line.stamp.decode(), shown(line.text), line.kind.decode(), len(line.text))


def _piece(stream: int, ordinal: int, stamp: str, text: str, kind: str, size: int) -> Piece:
    """`k` names what is no ordinary line; `x` is the size in bytes of a line of which `m` is only the start."""
    message: dict[str, object] = {"s": stream, "n": ordinal, "t": stamp, "m": text}
    if kind in KIND_WORDS:
        message["k"] = KIND_WORDS[kind]
    if size > LIVE_TEXT_BYTES:
        message["x"] = size
    return Piece(stream, ordinal, stamp, orjson.dumps(message))


def connect() -> "redis.Redis":
    """A client for blocking reads: no socket time-out, since silence is normal."""
    return redis.Redis.from_url(
        settings.CUBE_REDIS_URL, socket_timeout=None, socket_connect_timeout=5, health_check_interval=0
    )


def key_of(job_uid: UUID | str) -> str:
    return f"{settings.CUBE_REDIS_PREFIX}:log:{job_uid}"


def encode(stream: int, first: int, records: list[Record]) -> bytes:
    """The payload of one batch. Lines longer than 16 KiB are cut and carry their size; the store has them whole."""
    lines = [[each.stamp.decode(), shown(each.text), each.kind.decode(), len(each.text)] for each in records]
    return orjson.dumps([stream, first, lines])


def decode(payload: bytes) -> Batch:
    stream, first, lines = orjson.loads(payload)
    return Batch(stream, first, [_piece(stream, first + i, *line) for i, line in enumerate(lines)], len(payload))


def news(stream: int) -> bytes:
    """The payload that says a stream appeared or is complete."""
    return orjson.dumps([stream, 0, []])


class Publisher:
    """Sends from a bounded queue in the background: the store never waits for Redis, and Redis may be away."""

    def __init__(self) -> None:
        self._client = connect()
        self._queue: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._task = asyncio.create_task(self._send_for_ever())
        self.dropped = 0

    def offer(self, job_uid: UUID | str, payload: bytes) -> None:
        self._queue.append((key_of(job_uid), payload))
        self._bytes += len(payload)
        while self._bytes > QUEUED_BYTES and self._queue:
            self._bytes -= len(self._queue.popleft()[1])
            self.dropped += 1
        self._some.set()

    async def close(self) -> None:
        """Send what is queued, for a moment, then let go."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while self._queue:
                    await asyncio.sleep(0.01)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._client.aclose()

    async def _send_for_ever(self) -> None:
        while True:
            await self._some.wait()
            round_ = [self._queue[i] for i in range(min(PER_ROUND, len(self._queue)))]
            try:
                async with asyncio.timeout(10):
                    await self._send(round_)
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("log_batches_not_sent", error=str(error), queued=len(self._queue))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            for sent in round_:
                # The queue may have dropped its oldest while this was under way.
                if self._queue and self._queue[0] is sent:
                    self._queue.popleft()
                    self._bytes -= len(sent[1])
            if not self._queue:
                self._some.clear()

    async def _send(self, batches: list[tuple[str, bytes]]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for key, payload in batches:
                pipe.xadd(key, {"b": payload}, maxlen=KEPT_BATCHES, approximate=True)
            for key in {key for key, _ in batches}:
                pipe.expire(key, EXPIRE_SECONDS)
            await pipe.execute()
