"""What the followers of a collector have read, made durable for all of them at once, about once a second.

A commit is one object in the storage and then one transaction, so that a cursor never points at what is not there.
When the storage fails (a full disk) nothing is lost: followers stop reading once enough is pending, and the operators
are told."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from channels.db import database_sync_to_async
from django.utils.translation import gettext as _

from . import services
from .counters import Counters
from .lines import Gap
from .services import Entry
from .store import objects, segments
from .tails import Tail

COMMIT_SECONDS = 1.0
COMMIT_BYTES = 16 * 1024 * 1024
MOST_PENDING_BYTES = 64 * 1024 * 1024
PACK_BYTES = 32 * 1024 * 1024  # of raw records in one commit
LONGEST_BACK_OFF = 30.0
logger = structlog.get_logger(__name__)


@dataclass
class Pending:
    """What one stream has accepted and not stored: bodies from ordinal `first` on."""

    tail: Tail
    first: int
    bodies: list[bytes] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    gaps: list[tuple[int, Gap]] = field(default_factory=list)
    is_complete: bool = False

    @property
    def end(self) -> int:
        return self.first + sum(self.records)

    @property
    def bytes(self) -> int:
        return sum(map(len, self.bodies))

    def take(self, number: int) -> None:
        """Forget the first `number` bodies: they are stored."""
        self.first += sum(self.records[:number])
        del self.bodies[:number], self.records[:number]
        self.gaps = [(ordinal, gap) for ordinal, gap in self.gaps if ordinal >= self.first]


class Journal:
    def __init__(self, counters: Counters, *, commit_seconds: float = COMMIT_SECONDS) -> None:
        self._counters, self._seconds = counters, commit_seconds
        self._pending: dict[int, Pending] = {}
        self._bytes = 0
        self._wish = asyncio.Event()
        self._done = asyncio.Condition()
        self._turn = asyncio.Lock()
        self._failures = 0
        self._stuck_since = 0.0

    # -- followers ---------------------------------------------------------------------------------------------------
    def append(self, tail: Tail, body: bytes, *, gaps: list[tuple[int, Gap]] | None = None) -> int:
        """Accept a body that continues the stream. Returns its number of records."""
        first = tail.next
        count = tail.extend(body)
        pending = self._of(tail, first)
        pending.bodies.append(body)
        pending.records.append(count)
        pending.gaps += gaps or ()
        self._bytes += len(body)
        self._counters.pending_bytes = self._bytes
        self._counters.lines += count
        self._counters.bytes += len(body)
        if self._bytes >= COMMIT_BYTES:
            self._wish.set()
        return count

    async def finish(self, tail: Tail) -> None:
        """Store what is pending and that nothing more will come."""
        self._of(tail, tail.next).is_complete = True
        await self.flushed(tail)

    async def flushed(self, tail: Tail) -> None:
        """Wait until everything accepted from this stream is stored, or `tail.is_lost`."""
        if tail.stream not in self._pending:
            return
        self._wish.set()
        async with self._done:
            await self._done.wait_for(lambda: tail.stream not in self._pending or tail.is_lost)

    async def room(self) -> bool:
        """Wait until more may be read. Returns whether it had to wait."""
        if self._bytes < MOST_PENDING_BYTES:
            return False
        async with self._done:
            await self._done.wait_for(lambda: self._bytes < MOST_PENDING_BYTES)
        return True

    def forget(self, tail: Tail) -> None:
        """Drop what a lost stream has pending."""
        if pending := self._pending.pop(tail.stream, None):
            self._bytes -= pending.bytes
            self._counters.pending_bytes = self._bytes

    def _of(self, tail: Tail, first: int) -> Pending:
        pending = self._pending.get(tail.stream)
        if pending is None:
            pending = self._pending[tail.stream] = Pending(tail, first)
        return pending

    # -- commits -----------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """For ever: a commit a second, or sooner when somebody waits for it or much is pending."""
        while True:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._wish.wait()
                await asyncio.sleep(0.005)  # Others are about to ask too.
            except TimeoutError:
                pass
            self._wish.clear()
            try:
                await self.commit()
                self._recover()
            except Exception as error:  # noqa: BLE001 - whatever it is, what is pending stays pending
                await self._suffer(error)

    async def commit(self) -> None:
        """Store what is pending now. Raises what the storage or the database raises; then it is still pending."""
        async with self._turn:
            is_first = True
            while (is_first or self._bytes >= COMMIT_BYTES) and (chosen := self._choose()):
                is_first = False
                try:
                    await self._commit(chosen)
                finally:
                    async with self._done:
                        self._done.notify_all()

    def _choose(self) -> dict[int, tuple[Pending, int]]:
        """stream -> (what is pending, how many of its bodies are stored now), at most about PACK_BYTES."""
        chosen, size = {}, 0
        for stream, pending in self._pending.items():
            if size >= PACK_BYTES:
                break
            chosen[stream] = (pending, len(pending.bodies))
            size += pending.bytes
        return chosen

    async def _commit(self, chosen: dict[int, tuple[Pending, int]]) -> None:
        drafts = [_draft(pending, number) for pending, number in chosen.values()]
        while drafts:
            name, entries = await asyncio.to_thread(_write_pack, drafts)
            refused = await database_sync_to_async(services.commit)(name=name, entries=entries)
            if not refused:
                break
            # Rare: another collector took over. What it does not want is dropped, the rest is written once more.
            await asyncio.to_thread(_discard, name)
            for stream in refused:
                tail = chosen[stream][0].tail
                tail.is_lost = True
                self.forget(tail)
            drafts = [(entry, body) for entry, body in drafts if entry.stream not in refused]
        self._counters.commits += 1
        for entry, body in drafts:
            pending, number = chosen[entry.stream]
            self._bytes -= len(body)
            pending.take(number)
            self._pending.pop(entry.stream, None)
            if pending.bodies or pending.is_complete != entry.is_complete:
                self._pending[entry.stream] = pending  # at the end: others have waited longer
        self._counters.pending_bytes = self._bytes

    def _recover(self) -> None:
        if self._failures:
            logger.warning("log_store_works_again", seconds=round(time.monotonic() - self._stuck_since))
        self._failures = 0
        self._counters.problem = ""

    async def _suffer(self, error: Exception) -> None:
        if not self._failures:
            self._stuck_since = time.monotonic()
        self._failures += 1
        self._counters.problem = _("Logs cannot be stored: %(error)s. Collecting goes on when they can.") % {
            "error": str(error)[:300]
        }
        logger.error("logs_not_stored", error=str(error)[:500], pending_bytes=self._bytes, failures=self._failures)
        await asyncio.sleep(min(LONGEST_BACK_OFF, 0.5 * 2 ** min(self._failures, 8)))
        self._wish.set()


Draft = tuple[Entry, bytes]


def _draft(pending: Pending, number: int) -> Draft:
    body = b"".join(pending.bodies[:number])
    tail, records = pending.tail, sum(pending.records[:number])
    is_all = number == len(pending.bodies)
    end = pending.first + records
    entry = Entry(
        stream=tail.stream,
        epoch=tail.epoch,
        first=pending.first,
        records=records,
        raw_bytes=len(body),
        first_time=tail.first_time.decode(),
        last_time=tail.last.decode() if is_all else "",
        latest_time=tail.latest.decode(),
        is_complete=pending.is_complete and is_all,
        gaps=[(ordinal, gap) for ordinal, gap in pending.gaps if ordinal < end],
    )
    return entry, body


def _write_pack(drafts: list[Draft], write: Callable[[str, bytes], None] = objects.write) -> tuple[str, list[Entry]]:
    """Write all bodies as one object. Entries without records need none."""
    name, parts, offset, entries = objects.pack_name(), [], 0, []
    for entry, body in drafts:
        if not body:
            entries.append(entry)
            continue
        segment = segments.encode(body)
        entries.append(Entry(**{**entry.__dict__, "segment": segment, "offset": offset}))
        parts.append(segment.data)
        offset += len(segment.data)
    if parts:
        write(name, b"".join(parts))
    return name, entries


def _discard(name: str) -> None:
    try:
        objects.remove(name)
    except OSError as error:
        logger.warning("log_pack_not_discarded", name=name, error=str(error))  # A sweep finds it.
