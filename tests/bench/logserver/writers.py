"""Containers that print: at a rate, in bursts, or as fast as they are read."""

import asyncio
import heapq
import itertools
import time
from dataclasses import dataclass

from .cluster import Cluster, Pod
from .lines import LINE_BYTES, render

SHORTEST_SECONDS = 0.005  # between two writings of one container
MOST_AT_ONCE = 5000


@dataclass
class Wish:
    """How a container prints. `burst` lines leave together; `lines` in all, or until it is stopped."""

    rate: float = 0.0  # lines a second; 0: everything at once
    burst: int = 0  # 0: as few as the rate allows
    lines: int = 0
    size: int = LINE_BYTES
    same_stamp: bool = False  # all lines of a burst carry one time
    finish: bool = False  # the pod ends when its lines are written

    @property
    def at_once(self) -> int:
        if not self.rate:
            return self.lines
        return self.burst or max(1, round(self.rate * SHORTEST_SECONDS))

    @property
    def interval(self) -> float:
        return self.at_once / self.rate if self.rate else 0.0


@dataclass
class Writer:
    pod: Pod
    container: str
    wish: Wish
    left: int  # -1: until it is stopped

    def write(self, cluster: Cluster, number: int) -> None:
        run = self.pod.containers[self.container].run
        data = render(
            run.ledger.lines,
            number,
            step_back=cluster.step_back(self.pod.node),
            size=self.wish.size,
            same_stamp=self.wish.same_stamp,
        )
        run.write(data)
        run.ledger.last_written = time.time_ns()


class Press:
    """All writers of a cluster in one task: a heap of who is due when."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._due: list[tuple[float, int, Writer]] = []
        self._numbers = itertools.count()
        self._some = asyncio.Event()

    def start(self, pod: Pod, container: str, wish: Wish, *, after: float = 0.0) -> None:
        writer = Writer(pod, container, wish, wish.lines or -1)
        if wish.rate:
            heapq.heappush(self._due, (time.monotonic() + after, next(self._numbers), writer))
            self._some.set()
            return
        for _ in range(0, wish.lines, MOST_AT_ONCE):
            writer.write(self._cluster, min(MOST_AT_ONCE, writer.left))
            writer.left -= MOST_AT_ONCE
        self._over(writer)

    def stop(self, pods: set[str] | None = None) -> None:
        """Those of the named pods (by uid), or all: no line is written after this."""
        self._due = [each for each in self._due if pods is not None and each[2].pod.uid not in pods]
        heapq.heapify(self._due)

    @property
    def is_idle(self) -> bool:
        return not self._due

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._some.clear()
            if not self._due:
                await self._some.wait()
                continue
            wait = self._due[0][0] - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            else:
                self._round()
                await asyncio.sleep(0)

    def _round(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            due, _, writer = heapq.heappop(self._due)
            wish = writer.wish
            bursts = 1 if wish.burst else min(MOST_AT_ONCE // wish.at_once or 1, 1 + int((now - due) / wish.interval))
            number = bursts * wish.at_once if writer.left < 0 else min(bursts * wish.at_once, writer.left)
            if self._cluster.pods.get((writer.pod.namespace, writer.pod.name)) is not writer.pod:
                continue  # deleted
            writer.write(self._cluster, number)
            if writer.left > 0:
                writer.left -= number
            if writer.left:
                heapq.heappush(self._due, (due + bursts * wish.interval, next(self._numbers), writer))
            else:
                self._over(writer)

    def _over(self, writer: Writer) -> None:
        if writer.wish.finish:
            self._cluster.finish(writer.pod)
