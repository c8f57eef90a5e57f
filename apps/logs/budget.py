"""How fast a cluster may be asked for logs, and who is asked first."""

import asyncio
import heapq
import itertools
import time
from typing import NamedTuple

from .counters import Counters

BURST_SECONDS = 0.5


class Priority(NamedTuple):
    """Smaller comes first: containers that failed, then rank 0, then the others by rank."""

    is_well: bool = True
    rank: int = 0


class Budget:
    """A token bucket: `rate` requests a second over time, half a second's worth at once."""

    def __init__(self, rate: float, counters: Counters) -> None:
        self._rate, self._counters = rate, counters
        self._tokens = self._burst = max(1.0, rate * BURST_SECONDS)
        self._filled_at = time.monotonic()
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._task: asyncio.Task[None] | None = None
        self._window: list[float] = []

    async def turn(self, priority: Priority) -> None:
        """Wait for the right to make one request."""
        self._fill()
        if self._waiting or self._tokens < 1:
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (priority, next(self._numbers), mine))
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._serve())
            await mine
        else:
            self._tokens -= 1
        self._count()

    async def _serve(self) -> None:
        while self._waiting:
            self._fill()
            while self._tokens >= 1 and self._waiting:
                _, _, waiting = heapq.heappop(self._waiting)
                if not waiting.done():  # Cancelled ones leave their turn to the next.
                    waiting.set_result(None)
                    self._tokens -= 1
            await asyncio.sleep(1 / self._rate)

    def _fill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now

    def _count(self) -> None:
        self._counters.requests += 1
        now = time.monotonic()
        self._window.append(now)
        while self._window and self._window[0] < now - 1:
            self._window.pop(0)

    def note_use(self) -> None:
        """Bring the counter of used budget up to date."""
        since = time.monotonic() - 1
        self._counters.budget_used = min(1.0, sum(at >= since for at in self._window) / self._rate)
