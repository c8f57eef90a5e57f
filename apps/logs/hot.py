"""The hot tail: what was just read, handed to every web process through a capped Redis stream per job.

A batch goes out about a second before its records are stored. Losing one, or all of Redis, costs a reader that second
and nothing else: what was announced is stored next, or announced again by the next collector."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

import orjson
import redis.asyncio as redis
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from .lines import GAP, KIND_WORDS, LIVE_TEXT_BYTES, Line, gap_of, parse_stored, raw_records, shown

KEPT_BATCHES = 2000
KEPT_BYTES = 16 * 1024 * 1024  # of one job's batches, about
EXPIRE_SECONDS = 3600
QUEUED_BYTES = 8 * 1024 * 1024
PER_ROUND = 500
ROUND_SECONDS = 0.005  # others' batches of the same moment go out together
ENTRY_BYTES = 256 * 1024
PAUSE_SECONDS = 1.0
MOST_JOBS = 10_000
logger = structlog.get_logger(__name__)


class Piece(NamedTuple):
    """A line ready for a socket: `data` is its JSON, made once per process however many people watch."""

    stream: int
    ordinal: int
    stamp: str
    kind: bytes
    data: bytes
    text: bytes


@dataclass(frozen=True)
class Batch:
    """`count` records of one stream from ordinal `first` on, in stored form. Without records it says: look at the rows.

    `epoch` grows when another collector takes the stream over. What an older one announced and did not store is then
    announced again, from the first record that was not stored.
    """

    stream: int
    epoch: int
    first: int
    count: int
    body: bytes

    @property
    def end(self) -> int:
        return self.first + self.count

    @property
    def size(self) -> int:
        return len(self.body) + 64

    @cached_property
    def pieces(self) -> list[Piece]:
        """The records as sockets send them; made once."""
        records = enumerate(map(parse_stored, raw_records(self.body)))
        return [piece_of(Line(self.stream, self.first + at, *record)) for at, record in records]


def piece_of(line: Line) -> Piece:
    """`k` names what is no ordinary line; `x` is how many bytes of a line's text `m` leaves out."""
    stamp = line.stamp.decode()
    message: dict[str, object] = {"s": line.stream, "n": line.ordinal, "t": stamp, "m": shown(line.text)}
    if line.kind == GAP:
        gap = gap_of(line.text)
        message |= {"k": "gap", "m": gap.text, "g": asdict(gap)}
    elif word := KIND_WORDS.get(line.kind):
        message["k"] = word
    if line.kind != GAP and len(line.text) > LIVE_TEXT_BYTES:
        message["x"] = len(line.text) - LIVE_TEXT_BYTES
    return Piece(line.stream, line.ordinal, stamp, line.kind, orjson.dumps(message), line.text)


def connect() -> "redis.Redis":
    """A client for blocking reads: no socket time-out, since silence is normal."""
    return redis.Redis.from_url(
        settings.CUBE_REDIS_URL, socket_timeout=None, socket_connect_timeout=5, health_check_interval=0
    )


def key_of(job_uid: UUID | str) -> str:
    return f"{settings.CUBE_REDIS_PREFIX}:log:{job_uid}"


def encode(stream: int, epoch: int, first: int, count: int, body: bytes) -> bytes:
    """The payload of one batch: a line of JSON, then the records. Payloads may be joined."""
    return b"%s\n%s" % (orjson.dumps([stream, epoch, first, count, len(body)]), body)


def decode(payload: bytes) -> Iterator[Batch]:
    """The batches of joined payloads."""
    at = 0
    while at < len(payload):
        end = payload.index(b"\n", at) + 1
        stream, epoch, first, count, size = orjson.loads(payload[at:end])
        yield Batch(stream, epoch, first, count, payload[end : end + size])
        at = end + size


def news(stream: int) -> bytes:
    """The payload that says a stream appeared or is complete."""
    return encode(stream, 0, 0, 0, b"")


class Publisher:
    """Sends from a bounded queue in the background: the store never waits for Redis, and Redis may be away."""

    def __init__(self) -> None:
        self._client = connect()
        self._queue: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._usual: dict[str, float] = {}  # bytes of a job's batch
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
            await asyncio.sleep(ROUND_SECONDS)
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

    def _kept(self, key: str, size: int) -> int:
        """How many batches of a job stay, so that they are about KEPT_BYTES."""
        usual = self._usual[key] = 0.9 * self._usual.pop(key, float(size)) + 0.1 * size
        if len(self._usual) > MOST_JOBS:
            del self._usual[next(iter(self._usual))]
        return max(20, min(KEPT_BATCHES, int(KEPT_BYTES / max(usual, 1))))

    async def _send(self, batches: list[tuple[str, bytes]]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for key, payload in _joined(batches):
                pipe.xadd(key, {"b": payload}, maxlen=self._kept(key, len(payload)), approximate=True)
            for key in {key for key, _ in batches}:
                pipe.expire(key, EXPIRE_SECONDS)
            await pipe.execute()


def _joined(batches: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The payloads of each job as few entries: a job of hundreds of pods would fill its stream within a second."""
    waiting: defaultdict[str, bytearray] = defaultdict(bytearray)
    for key, payload in batches:
        waiting[key] += payload
        if len(waiting[key]) >= ENTRY_BYTES:
            yield key, bytes(waiting.pop(key))
    for key, held in waiting.items():
        yield key, bytes(held)
