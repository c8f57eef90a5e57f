"""Search over stored logs: across jobs, in pages that are bounded in time and bytes.

Streams are visited newest job first, each from its first line on. A page ends when it is full or its budget is used up,
and says where to go on, so a rare term in a large project is found by asking again, never by one endless request.
"""

import base64
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import NamedTuple, Self
from uuid import UUID

from django.db.models import F, Q
from django.utils.translation import gettext as _

from apps.core.errors import DomainError, InvalidInput
from apps.jobs.models import JobQuerySet

from . import selectors, store
from .lines import Line
from .models import LogStream
from .needle import Needle
from .scanning import Piece, pieces_of, pool, scan_piece

SECONDS = 2.0  # of one page
BYTES = 512 * 1024 * 1024  # read for one page, as they are stored
AT_ONCE = 4  # searches in a process; a search keeps a request's thread busy, and readers need the others
PATIENCE_SECONDS = 5.0
AHEAD = 8  # pieces being scanned while the first is waited for
STREAMS_A_QUERY = 100
EVER = b""
NEVER = b"~"  # after every stamp
_turns = BoundedSemaphore(AT_ONCE)


class Busy(DomainError):
    """Too many searches at once; asking again in a moment helps."""

    code = "busy"


class Place(NamedTuple):
    """The next line to look at, in the order of a search."""

    job: int = 1 << 62
    stream: int = 0
    ordinal: int = 0

    @property
    def cursor(self) -> str:
        return base64.urlsafe_b64encode("{}.{}.{}".format(*self).encode()).decode().rstrip("=")

    @classmethod
    def of(cls, cursor: str) -> Self:
        """Raises InvalidInput for what is no cursor of ours."""
        try:
            text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
            job, stream, ordinal = (int(part) for part in text.split(".") if part.isdecimal() and len(part) < 20)
        except ValueError:
            raise InvalidInput({"cursor": _("This is no cursor of an earlier answer.")}) from None
        return cls(*(min(number, 1 << 62) for number in (job, stream, ordinal)))


@dataclass(frozen=True)
class Question:
    """What to look for, in which jobs (already only those the asker may see), stamped in [since, until)."""

    needle: Needle
    jobs: JobQuerySet
    since: bytes = EVER
    until: bytes = NEVER


def jobs_among(
    jobs: JobQuerySet, *, uid: UUID | None = None, template: str | None = None, status: str | None = None
) -> JobQuerySet:
    """Those of `jobs` that are asked for; what is not given does not narrow."""
    if uid is not None:
        jobs = jobs.filter(uid=uid)
    if template:
        jobs = jobs.filter(template_version__template__slug=template)
    return jobs.filter(status=status) if status else jobs


@dataclass
class Scanned:
    """What a page looked through. Lines that the store could skip, since they cannot match, count as well."""

    streams: int = 0
    lines: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Hit:
    stream: LogStream
    line: Line

    @property
    def anchor(self) -> str:
        """The line within its job's page."""
        return f"#L{self.stream.pk}-{self.line.ordinal}"


@dataclass
class Page:
    hits: list[Hit] = field(default_factory=list)
    scanned: Scanned = field(default_factory=Scanned)
    next: Place | None = None


def search(question: Question, *, place: Place | None = None, limit: int = 100) -> Page:
    """The next at most `limit` lines from `place` on. Raises Busy when many search at once."""
    if not _turns.acquire(timeout=PATIENCE_SECONDS):
        raise Busy(_("Many searches are running. Try again in a moment."))
    try:
        return _search(question, _work(question, place or Place()), limit, time.monotonic() + SECONDS)
    finally:
        _turns.release()


class Work(NamedTuple):
    stream: LogStream
    piece: Piece

    @property
    def place(self) -> Place:
        return Place(self.stream.job_id, self.stream.pk, self.piece.start)


def _search(question: Question, work: Iterator[Work], limit: int, deadline: float) -> Page:
    page = Page()
    running: deque[tuple[Work, Future[list[Line]]]] = deque()
    seen: set[int] = set()
    try:
        while True:
            while len(running) < AHEAD and (each := next(work, None)) is not None:
                running.append((each, pool().submit(_scan, each.piece, question, limit + 1)))
            if not running:
                return page
            if page.scanned.streams and (time.monotonic() >= deadline or page.scanned.bytes >= BYTES):
                page.next = running[0][0].place
                return page
            (stream, piece), future = running.popleft()
            lines, room = future.result(), limit - len(page.hits)
            page.hits += [Hit(stream, line) for line in lines[:room]]
            seen.add(stream.pk)
            end = lines[room].ordinal if len(lines) > room else piece.end
            page.scanned.streams = len(seen)
            page.scanned.lines += end - piece.start
            page.scanned.bytes += piece.size
            if len(lines) > room:
                page.next = Place(stream.job_id, stream.pk, end)
                return page
    finally:
        for _each, future in running:
            future.cancel()


def _scan(piece: Piece, question: Question, limit: int) -> list[Line]:
    try:
        return scan_piece(piece, question.needle, question.since, question.until, limit)
    except store.Moved:  # Its job was deleted, or retention took it, since the rows were read.
        return []


def _work(question: Question, place: Place) -> Iterator[Work]:
    """What is to be scanned from `place` on, newest job first; rows are fetched as the search comes to them."""
    streams = LogStream.objects.filter(job__in=question.jobs, line_count__gt=F("kept_from")).select_related(
        "job__project"
    )
    if question.since:
        streams = streams.filter(Q(latest_time__gte=question.since.decode()) | Q(latest_time=""))  # "": not known
    while True:
        after = Q(job_id__lt=place.job) | Q(job_id=place.job, pk__gte=place.stream)
        batch = list(streams.filter(after).order_by("-job_id", "pk")[:STREAMS_A_QUERY])
        if not batch:
            return
        for stream, source in zip(batch, selectors.sources_of(batch), strict=True):
            start = place.ordinal if stream.pk == place.stream else 0
            for piece in pieces_of(source, start, question.since, question.until):
                yield Work(stream, piece)
        place = Place(batch[-1].job_id, batch[-1].pk + 1)
