"""Lines of several streams as they arrive, put in order of time within a short window.

A line waits until the window has passed since it was written, or since it came (clocks differ): whatever another stream
has to say of that moment has arrived by then. What comes later still is given at once and marked as late. Within a
stream the ordinal is law: a line whose clock stepped back sorts where the line before it does.
"""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from .hot import Piece

WINDOW_SECONDS = 0.2
HELD_BYTES = 4 * 1024 * 1024  # more than this does not wait for its window
place_of = itemgetter(0, 1)


class Held(NamedTuple):
    """A line that waits; without `data`, only the news that a stream was read up to `end`."""

    key: str  # the greatest stamp of its stream so far
    stream: int
    end: int
    data: bytes | None


class Given(NamedTuple):
    """What is due, in order, the late ones first. `after` says how far each stream that moved has been read."""

    late: list[Held]
    due: list[Held]
    after: dict[int, int]


@dataclass
class Queue:
    """What one stream holds back."""

    key: str = ""
    held: list[Held] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    arrivals: list[tuple[float, int]] = field(default_factory=list)  # (when, how many are held with it)

    def add(self, new: list[Held], now: float) -> None:
        self.held += new
        self.keys += [each.key for each in new]
        self.arrivals.append((now, len(self.held)))

    def take(self, key: str, arrived: float) -> list[Held]:
        """Those stamped up to `key`, and those that came up to `arrived`."""
        number = bisect_right(self.keys, key)
        if self.arrivals[0][0] <= arrived:
            number = max(number, max(count for when, count in self.arrivals if when <= arrived))
        taken = self.held[:number]
        del self.held[:number], self.keys[:number]
        self.arrivals = [(when, count - number) for when, count in self.arrivals if count > number]
        return taken


class Merger:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._queues: dict[int, Queue] = {}
        self._released: tuple[str, int] = ("", 0)
        self.size = 0
        self.waiting: set[int] = set()

    def offer(self, stream: int, pieces: Sequence[Piece], wants: Callable[[Piece], bool] | None) -> None:
        """Lines that continue the stream; `wants` chooses among them."""
        queue = self._queues.setdefault(stream, Queue())
        key, new = queue.key, []
        for piece in pieces:
            key = max(key, piece.stamp)
            if wants is None or wants(piece):
                new.append(Held(key, stream, piece.ordinal + 1, piece.data))
                self.size += len(piece.data)
        end = pieces[-1].ordinal + 1
        if not new or new[-1].end < end:
            new.append(Held(key, stream, end, None))
        queue.key = key
        queue.add(new, self._clock())
        self.waiting.add(stream)

    def take(self, window: float) -> Given:
        """What is due now. A window of 0 gives everything."""
        now = self._clock()
        if window <= 0 or self.size > HELD_BYTES:
            key, arrived = "~", now
        else:
            key, arrived = stamp_of(now - window), now - window
        taken: list[Held] = []
        after: dict[int, int] = {}
        for stream in list(self.waiting):
            queue = self._queues[stream]
            if part := queue.take(key, arrived):
                taken += part
                after[stream] = part[-1].end
            if not queue.held:
                self.waiting.discard(stream)
        taken = [each for each in taken if each.data is not None]
        taken.sort(key=place_of)
        self.size -= sum(len(each.data or b"") for each in taken)
        return self._mark(taken, after)

    def _mark(self, taken: list[Held], after: dict[int, int]) -> Given:
        """Late is what sorts before a line that was given earlier."""
        number = bisect_left(taken, self._released, key=place_of) if len(self._queues) > 1 else 0
        if taken:
            self._released = max(self._released, place_of(taken[-1]))
        return Given(taken[:number], taken[number:], after)

    def drop(self, stream: int, to: int) -> None:
        """Forget what is held of a stream from ordinal `to` on, and its clock: it is told anew."""
        queue = self._queues.pop(stream, None)
        self.waiting.discard(stream)
        if queue is None:
            return
        kept = [each for each in queue.held if each.end <= to]
        self.size -= sum(len(each.data or b"") for each in queue.held[len(kept) :])
        if kept:
            self._queues[stream] = Queue(key=kept[-1].key)
            self._queues[stream].add(kept, queue.arrivals[0][0])
            self.waiting.add(stream)


def stamp_of(moment: float) -> str:
    """Seconds since 1970 as a stamp."""
    seconds, nanoseconds = divmod(int(moment * 1e9), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"
