"""Viewers over real sockets: they keep what they were shown, count, measure, are cut off and come back."""

import asyncio
import contextlib
import random
import re
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from .compare import GAP, Stored
from .cube import Cube

WRITTEN = re.compile(rb" t=(\d{19}) ")
_dice = random.Random(3)  # noqa: S311


@dataclass
class Viewer:
    """One reader of one job's socket.

    `keeps`: every row by (stream, ordinal), as a browser would with no limit. `lines_per_second`: reads no faster.
    `cut_every`: its connection is thrown away so often, and it resumes from where it was. Latencies are milliseconds
    from a line's own time to here; only lines written after `since_ns` count.
    """

    cube: Cube
    job: str
    keeps: bool = True
    measures: bool = True
    lines_per_second: float = 0.0
    cut_every: float = 0.0
    tail: int | None = None
    since_ns: int = 0
    rows: dict[tuple[int, int], tuple[str, str, str]] = field(default_factory=dict)
    streams: dict[int, dict[str, Any]] = field(default_factory=dict)
    cursors: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    lines: int = 0
    again: int = 0  # rows it was sent although it had them
    connections: int = 0
    most_behind: int = 0
    is_at_end: bool = False

    async def run(self) -> None:
        """Until cancelled, or told that nothing more can come."""
        address = f"{self.cube.url.replace('http', 'ws', 1)}/ws/jobs/{self.cube.jobs[self.job].uid}/logs/"
        async with aiohttp.ClientSession(headers=self.cube.headers | {"Origin": self.cube.url}) as session:
            while not self.is_at_end:
                tail = self.tail if self.tail is not None and not self.connections else None
                query = "?resume=1" if tail is None else f"?tail={tail}"
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with session.ws_connect(address + query, max_msg_size=0) as socket:
                        self.connections += 1
                        if tail is None:
                            wish = {"type": "resume", "cursors": {str(k): n for k, n in self.cursors.items()}}
                            await socket.send_str(orjson.dumps(wish).decode())
                        await self._read(socket)
                await asyncio.sleep(0.05)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        ends = time.monotonic() + _dice.uniform(0.5, 1.5) * self.cut_every if self.cut_every else None
        while True:
            wait = None if ends is None else max(0.0, ends - time.monotonic())
            try:
                message = await socket.receive(wait)
            except TimeoutError:
                break
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return
            number = self._take(message.data if isinstance(message.data, bytes) else message.data.encode())
            if self.is_at_end:
                return
            if self.lines_per_second:
                await asyncio.sleep(number / self.lines_per_second)
            if ends is not None and time.monotonic() >= ends:
                break
        transport = socket._response.connection.transport if socket._response.connection else None
        if transport is not None:
            transport.abort()  # as a network does it: without a word

    def _take(self, data: bytes) -> int:
        """One frame; the number of lines in it."""
        now = time.time_ns()
        if not self.keeps and data.startswith(b'{"type":"lines"'):
            number = data.count(b'"n":')
            self.lines += number
            if self.measures:
                self._measure(now, data)
            return number
        message = orjson.loads(data)
        kind = message["type"]
        if kind == "streams":
            self.streams |= {each["id"]: each for each in message["streams"]}
        elif kind == "lag":
            self.most_behind = max(self.most_behind, message["behind"])
        elif kind == "rewind":
            self._rewind(message["s"], message["to"])
        elif kind == "end":
            self.is_at_end = True
        elif kind in ("lines", "window"):
            self._keep(message["lines"])
            if self.measures and kind == "lines":
                self._measure(now, data)
            return len(message["lines"])
        return 0

    def _measure(self, now: int, data: bytes) -> None:
        for found in WRITTEN.findall(data):
            if (written := int(found)) > self.since_ns:
                self.latencies.append((now - written) / 1e6)

    def _keep(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            key = line["s"], line["n"]
            if key in self.rows:
                self.again += 1
            self.rows[key] = (line["t"], line["m"], line.get("k", ""))
            self.cursors[key[0]] = max(self.cursors.get(key[0], 0), key[1] + 1)
        self.lines += len(lines)

    def _rewind(self, stream: int, to: int) -> None:
        for key in [key for key in self.rows if key[0] == stream and key[1] >= to]:
            del self.rows[key]
        self.cursors[stream] = min(self.cursors.get(stream, 0), to)

    # -- judging -----------------------------------------------------------------------------------------------------
    def shown(self) -> dict[tuple[str, str, int], list[Stored]]:
        """(pod, container, restart) -> its rows in order of their ordinals."""
        found: dict[tuple[str, str, int], list[Stored]] = {}
        for (stream, _), (stamp, text, kind) in sorted(self.rows.items()):
            each = self.streams[stream]
            line = Stored(GAP if kind == "gap" else b" ", f"{stamp} {text}".encode())
            found.setdefault((each["pod"], each["container"], each["restart"]), []).append(line)
        return found

    async def until(self, lines: int, seconds: float = 30) -> bool:
        """Whether it has so many different rows within that time of silence."""
        before, changed = -1, time.monotonic()
        while (now := len(self.rows) if self.keeps else self.lines) < lines:
            if now != before:
                before, changed = now, time.monotonic()
            if time.monotonic() - changed > seconds:
                return False
            await asyncio.sleep(0.05)
        return True


@contextlib.asynccontextmanager
async def watching(*viewers: Viewer) -> Any:
    """While they watch."""
    tasks = [asyncio.create_task(viewer.run()) for viewer in viewers]
    try:
        yield viewers
    finally:
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, Exception):
                raise error
