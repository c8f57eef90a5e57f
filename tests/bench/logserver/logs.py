"""`pods/<name>/log`: the answer of an API server and the kubelet behind it."""

import asyncio
import random
import socket
import time
from collections import Counter, deque
from typing import Any

from aiohttp import web

from .answers import Refusal
from .cluster import Cluster, Pod
from .files import STAMP, Piece, Reader, Run

NO_WATCHER = b"failed to create fsnotify watcher: too many open files"
PIECE_BYTES = 16 * 1024  # containerd writes a longer line in records of this size
_dice = random.Random(5)  # noqa: S311


class Follows:
    """What is open, and what has been: the measure of how a collector behaves."""

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()  # node -> follows that hold an inotify instance
        self.now = self.most = self.started = self.reads = self.cuts = self.no_watcher = 0
        self.opened_at: dict[str, int] = {}  # pod uid -> when it was first followed, in ns
        self.of_pod: Counter[str] = Counter()
        self.asked_at: deque[tuple[int, str]] = deque(maxlen=20_000)


def _wanted(query: Any, pod: Pod) -> tuple[Run, bytes, int | None, bool]:
    """(run, since, tail, is_follow). Raises Refusal as a kubelet does."""
    name = query.get("container") or next(iter(pod.containers))
    container = pod.containers.get(name)
    if container is None:
        raise Refusal(400, f"container {name} is not valid for pod {pod.name}")
    run = container.run
    if query.get("previous") in ("true", "1"):
        if container.previous is None:
            raise Refusal(400, f'previous terminated container "{name}" in pod "{pod.name}" not found')
        run = container.previous
    elif container.is_waiting:
        raise Refusal(400, f'container "{name}" in pod "{pod.name}" is waiting to start: ContainerCreating')
    tail = int(query["tailLines"]) if "tailLines" in query else None
    return run, _since(query), tail, query.get("follow") in ("true", "1")


def _since(query: Any) -> bytes:
    """Whole seconds: that is all an API server hands on."""
    if "sinceTime" in query:
        return query["sinceTime"][:19].encode() + b".000000000Z"
    if "sinceSeconds" in query:
        then = time.time() - int(query["sinceSeconds"])
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(then)).encode() + b".000000000Z"
    return b""


class LogAnswer:
    """One request for a log, from its first byte to its last."""

    def __init__(self, cluster: Cluster, follows: Follows, pod: Pod, request: web.Request) -> None:
        self._cluster, self._follows, self._pod, self._request = cluster, follows, pod, request
        self._rules = cluster.rules
        self._run, since, tail, self._is_follow = _wanted(request.query, pod)
        self._has_stamps = request.query.get("timestamps") in ("true", "1")
        self._limit = int(request.query.get("limitBytes", 0))
        self._reader = Reader(self._run, since=since, tail=tail)
        self._holds_watcher = False
        self._sent = 0
        self._ends = self._end_of_follow()

    def _end_of_follow(self) -> float:
        """When this follow will be cut; 0: never."""
        rules, ends = self._rules, []
        if rules.cut_after:
            ends.append(rules.cut_after)
        if rules.cut_mean:
            ends.append(_dice.expovariate(1 / rules.cut_mean))
        return time.monotonic() + min(ends) if self._is_follow and ends else 0.0

    async def give(self) -> web.StreamResponse:
        self._response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        self._note()
        self._reader.run.listeners.add(self._reader.news)
        try:
            if self._is_follow and not self._has_watcher() and self._first_is_empty():
                self._follows.no_watcher += 1
                raise Refusal(400, NO_WATCHER.decode())
            await self._response.prepare(self._request)
            self._narrow()
            await self._send_all()
        finally:
            self._reader.run.listeners.discard(self._reader.news)
            if self._is_follow:
                self._follows.now -= 1
                self._follows.of_pod[self._pod.uid] -= 1
            if self._holds_watcher:
                self._follows.open[self._pod.node] -= 1
        return self._response

    def _note(self) -> None:
        follows, uid = self._follows, self._pod.uid
        follows.asked_at.append((time.time_ns(), uid))
        if not self._is_follow:
            follows.reads += 1
            return
        follows.started += 1
        follows.now += 1
        follows.most = max(follows.most, follows.now)
        follows.of_pod[uid] += 1
        follows.opened_at.setdefault(uid, time.time_ns())

    def _first_is_empty(self) -> bool:
        return not self._run.file.size and not self._run.is_ended

    def _has_watcher(self) -> bool:
        """Taken at the end of a file, where a kubelet begins to watch; False when the node has none left."""
        if not self._holds_watcher:
            cap = self._rules.follows_per_node
            if cap and self._follows.open[self._pod.node] >= cap:
                return False
            self._follows.open[self._pod.node] += 1
            self._holds_watcher = True
        return True

    def _narrow(self) -> None:
        transport = self._request.transport
        if transport is None:
            return
        transport.set_write_buffer_limits(0)  # type: ignore[attr-defined]
        if self._rules.send_buffer:
            held: socket.socket = transport.get_extra_info("socket")
            held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._rules.send_buffer)

    # -- bytes -------------------------------------------------------------------------------------------------------
    async def _send_all(self) -> None:
        while True:
            if self._run.is_lost and self._request.transport is not None:
                self._request.transport.abort()
                return
            if self._ends and time.monotonic() >= self._ends:
                await self._cut()
                return
            if self._rules.silent_after_rotation and self._is_follow and self._reader.is_rotated_away:
                await self._hang()
            if piece := self._reader.take(may_turn=self._is_follow):
                await self._send(piece)
                if self._limit and self._sent >= self._limit:
                    return
            elif self._run.flat_until > time.monotonic():
                self._run.write_flat()
            elif not self._is_follow or self._run.is_ended:
                return
            elif not self._has_watcher():
                self._follows.no_watcher += 1
                await self._response.write(NO_WATCHER)
                return
            else:
                await self._wait()

    async def _send(self, piece: Piece) -> None:
        """A line longer than a record leaves in pieces. Handed over is what the machine's socket has taken."""
        data = piece.data if self._has_stamps else _without_stamps(piece.data)
        if self._limit:
            data = data[: max(0, self._limit - self._sent)]
        step = PIECE_BYTES if piece.count == 1 and len(data) > PIECE_BYTES else len(data)
        for at in range(0, len(data), step or 1):
            await self._response.write(data[at : at + step])
            await self._until_taken()
        self._sent += len(data)
        if self._is_follow:
            self._run.ledger.deliver(piece.first, piece.count)

    async def _until_taken(self) -> None:
        await asyncio.sleep(0)
        while (transport := self._request.transport) is not None and transport.get_write_buffer_size():  # type: ignore[attr-defined]
            if transport.is_closing():
                break
            await asyncio.sleep(0.002)
        if self._request.transport is None:
            raise ConnectionResetError

    async def _wait(self) -> None:
        seconds = self._ends - time.monotonic() if self._ends else 5.0
        try:
            async with asyncio.timeout(max(0.0, min(seconds, 5.0))):
                await self._reader.news.wait()
        except TimeoutError:
            if self._request.transport is None:
                raise ConnectionResetError from None

    async def _hang(self) -> None:
        while self._request.transport is not None and not (self._ends and time.monotonic() > self._ends):
            await asyncio.sleep(0.2)

    async def _cut(self) -> None:
        """Cleanly, in the middle of a line, or with a reset."""
        self._follows.cuts += 1
        way = _dice.randrange(3)
        piece = self._reader.take(may_turn=self._is_follow) if way else None
        if piece is not None and self._has_stamps:
            torn = piece.data[: _dice.randrange(1, len(piece.data))]
            await self._response.write(torn)
            await self._until_taken()
            if way == 1:
                self._run.ledger.deliver(piece.first, torn.count(b"\n"))
        if way == 2 and self._request.transport is not None:
            self._request.transport.abort()


def _without_stamps(data: bytes) -> bytes:
    return b"".join(line[STAMP + 1 :] for line in data.splitlines(keepends=True))
