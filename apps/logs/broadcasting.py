"""The live lines of one (job, filter), merged once and shared by everybody who watches them.

What goes out is a ring of ready frames. A viewer remembers the number of the frame it wants next and how far it has
read; one that is too slow for the ring reads the store. No viewer has a queue of its own, and none waits for another.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from .filters import Filter
from .framing import frames, late
from .hot import Piece
from .merging import WINDOW_SECONDS, Held, Merger
from .models import LogStream

RING_BYTES = 4 * 1024 * 1024
RING_FRAMES = 4096
TICK_SECONDS = 0.02
ALONE_SECONDS = 0.01
SECONDS_PER_VIEWER = 0.0005  # sending a frame takes a third of it: with many viewers, fewer and larger frames
LONGEST_PAUSE = 0.2


class Frame(NamedTuple):
    """What was given at one moment. `before` and `after` are the next ordinals of all streams, before and after it.

    A frame's `before` is the very object that the frame before it calls `after`, unless what lies between was passed
    over or taken back; whoever holds that object is up to date without comparing.
    """

    number: int
    messages: tuple[str, ...]
    lines: tuple[Held, ...]
    before: dict[int, int]
    after: dict[int, int]
    size: int


class Broadcast:
    def __init__(self, chosen: Filter) -> None:
        self.chosen = chosen
        self.users = 0
        self.position: dict[int, int] = {}  # never changed, only replaced
        self.next_number = 0
        self.tails: dict[int, tuple[float, asyncio.Task[Any]]] = {}  # newest lines that were read for somebody just now
        self.listeners: set[asyncio.Event] = set()
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._merger = Merger()
        self._known: set[int] = set()
        self._running = 0
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sent_at = 0.0

    # -- the feed ----------------------------------------------------------------------------------------------------
    def know(self, streams: list[LogStream], next_: dict[int, int]) -> None:
        """Which streams belong to it, and how many of them still run. A new one begins where the feed is."""
        new = {stream.pk: next_[stream.pk] for stream in streams if stream.pk not in self._known}
        self._known |= new.keys()
        self._running = sum(not stream.is_complete for stream in streams)
        if new:
            self._break({**self.position, **new})

    def offer(self, stream: int, pieces: Sequence[Piece]) -> None:
        if stream in self._known and pieces:
            self._merger.offer(stream, pieces, None if self.chosen.takes_all else self._wants)
            self._work()

    def skip(self, stream: int, to: int) -> None:
        """Lines before `to` are in the store, too many for here."""
        if stream in self._known:
            self._publish(window=0)
            self._break({**self.position, stream: to})

    def rewind(self, stream: int, to: int) -> None:
        if stream in self._known:
            self._merger.drop(stream, to)
            if self.position[stream] > to:
                self._break({**self.position, stream: to})

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # -- viewers -----------------------------------------------------------------------------------------------------
    def frame(self, number: int) -> Frame | None:
        """The frame of that number, or None when it is not made yet. Raises LookupError when the ring has lost it."""
        if number >= self.next_number:
            return None
        first = self.next_number - len(self._frames)
        if number < first:
            raise LookupError(number)
        return self._frames[number - first]

    # -- frames ------------------------------------------------------------------------------------------------------
    def _wants(self, piece: Piece) -> bool:
        return self.chosen.wants(piece.stamp.encode(), piece.text)

    @property
    def _window(self) -> float:
        """Lines of a single stream have nothing to wait for."""
        return WINDOW_SECONDS if self._running > 1 else 0

    def _work(self) -> None:
        self._some.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._merger.waiting:
                pause = min(LONGEST_PAUSE, len(self.listeners) * SECONDS_PER_VIEWER)
                pause = max(pause, TICK_SECONDS if self._window else ALONE_SECONDS)
                # The first line after a silence need not wait for a tick.
                await asyncio.sleep(max(0.0, min(pause, self._sent_at + pause - time.monotonic())))
                self._publish(self._window)
                if self._merger.waiting:
                    await asyncio.sleep(TICK_SECONDS)

    def _publish(self, window: float) -> None:
        given = self._merger.take(window)
        if not given.after:
            return
        lines = [late(each.data) for each in given.late if each.data] + [each.data for each in given.due if each.data]
        after = {**self.position, **given.after}
        held, size = (*given.late, *given.due), sum(map(len, lines))
        self._add(Frame(self.next_number, tuple(frames(lines)), held, self.position, after, size))
        self._sent_at = time.monotonic()

    def _break(self, after: dict[int, int]) -> None:
        """A frame that continues nothing: everybody compares with what they have."""
        self._add(Frame(self.next_number, (), (), dict(after), after, 0))

    def _add(self, frame: Frame) -> None:
        self._frames.append(frame)
        self.next_number += 1
        self.position = frame.after
        self._bytes += frame.size
        while len(self._frames) > RING_FRAMES or (self._bytes > RING_BYTES and len(self._frames) > 1):
            self._bytes -= self._frames.popleft().size
        for listener in self.listeners:
            listener.set()
