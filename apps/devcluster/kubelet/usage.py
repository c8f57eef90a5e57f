"""Measured use of CPU and memory: psutil over each container's process tree, once a second while something
runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import psutil

from apps.devcluster.kubelet.container import ContainerRun
from apps.devcluster.kubelet.process import descendants

SAMPLE_SECONDS = 1.0
# Where the kernel does not enforce memory limits, look more often: a hog doubles quickly.
GUARD_SECONDS = 0.2


@dataclass
class Sample:
    """The last measurement of one container."""

    at: float
    cpu_seconds: float
    nanocores: int = 0
    memory_bytes: int = 0
    window: float = 0.0  # seconds that `nanocores` are the mean of; none after the first look
    taken: float = field(default_factory=time.time)


@dataclass
class _Watched:
    run: ContainerRun
    limit: int | None
    guarded: bool
    sample: Sample | None = None


def measure(pid: int, *, paused: bool = False) -> tuple[float, int]:
    """CPU seconds so far (with those of children that ended) and resident bytes of a tree.

    `paused`: its root is only the pod's pause and counts for the orphans it has reaped.
    """
    cpu, memory = 0.0, 0
    with contextlib.suppress(psutil.Error):
        for number in descendants(pid):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(number)
                own = not paused or number != pid
                with process.oneshot():
                    times = process.cpu_times()
                    memory += process.memory_info().rss if own else 0
                cpu += sum(times[0 if own else 2 : 4])  # user, system and both of reaped children
    return cpu, memory


class Usage:
    """Samples all running containers and marks those above a memory limit the kernel does not enforce."""

    def __init__(self) -> None:
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._wake = asyncio.Event()

    def add(self, uid: str, name: str, run: ContainerRun, limit: int | None, *, enforced: bool) -> None:
        """Measure this container from now on."""
        self._watched[uid, name] = _Watched(run, limit, limit is not None and not enforced)
        self._wake.set()

    def remove(self, uid: str, name: str) -> None:
        """It has ended."""
        self._watched.pop((uid, name), None)
        if not self._watched:
            self._wake.clear()

    def of_pod(self, uid: str) -> dict[str, Sample]:
        """The last sample of each running container of a pod."""
        return {name: w.sample for (u, name), w in self._watched.items() if u == uid and w.sample}

    def rates_of_pod(self, uid: str) -> dict[str, Sample]:
        """As `of_pod`, once every running container has been looked at twice; nothing before."""
        samples = {name: watched.sample for (u, name), watched in self._watched.items() if u == uid}
        found = {name: sample for name, sample in samples.items() if sample and sample.window}
        return found if len(found) == len(samples) else {}

    async def run(self) -> None:
        """Sample for ever; asleep while nothing runs."""
        while True:
            await self._wake.wait()
            guarded = any(watched.guarded for watched in self._watched.values())
            await asyncio.sleep(GUARD_SECONDS if guarded else SAMPLE_SECONDS)
            for watched in list(self._watched.values()):
                self._look(watched)

    def _look(self, watched: _Watched) -> None:
        at, before = time.monotonic(), watched.sample
        if not watched.run.running or (before and not watched.guarded and at - before.at < SAMPLE_SECONDS / 2):
            return
        cpu, memory = measure(watched.run.pid, paused=watched.run.paused)
        if watched.guarded and watched.limit and memory > watched.limit:
            watched.run.oom_marked = True
            watched.run.kill()
        if before is None:
            watched.sample = Sample(at, cpu, memory_bytes=memory)
        elif at - before.at >= SAMPLE_SECONDS / 2:
            cores = max(0.0, cpu - before.cpu_seconds) / (at - before.at)
            watched.sample = Sample(at, cpu, int(cores * 1e9), memory, at - before.at)
        else:
            before.memory_bytes = memory
