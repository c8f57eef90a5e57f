"""Between a program's terminal and a browser: bytes both ways, and never more of them held than a window.

The browser says how much it has drawn, and is told how much was typed into the program; whoever is ahead waits. So a
program that floods, a browser that sleeps, or a paste into a program that does not read costs a window and no more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from apps.clusters.gateway import Execution

SHOWN_WINDOW = 256 * 1024  # bytes on their way to the browser
TYPED_WINDOW = 64 * 1024  # bytes on their way to the program
CHUNK = 16 * 1024


class Overrun(ValueError):
    """The browser does not keep to the window, or acknowledges what it never got."""


class Relay:
    def __init__(
        self, execution: Execution, *, show: Callable[[bytes], Awaitable[None]], took: Callable[[int], Awaitable[None]]
    ) -> None:
        self._execution, self._show, self._took = execution, show, took
        self._undrawn = 0
        self._typed = bytearray()
        self._size: tuple[int, int] | None = None
        self._room, self._work = asyncio.Event(), asyncio.Event()
        self._room.set()
        self.used_at = time.monotonic()

    async def run(self) -> int:
        """Until the program ends: its exit code. Raises what `Execution.output` raises."""
        writing = asyncio.create_task(self._write())
        try:
            async for chunk in self._execution.output():
                for start in range(0, len(chunk), CHUNK):
                    await self._send(chunk[start : start + CHUNK])
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        return self._execution.exit_code or 0

    def type(self, data: bytes) -> None:
        """Raises Overrun."""
        if len(self._typed) + len(data) > TYPED_WINDOW:
            raise Overrun("typed")
        self._typed += data
        self._use()

    def resize(self, columns: int, rows: int) -> None:
        """The latest size counts; those in between are not told."""
        self._size = (columns, rows)
        self._work.set()

    def drawn(self, count: int) -> None:
        """Raises Overrun."""
        if not 0 < count <= self._undrawn:
            raise Overrun("drawn")
        self._undrawn -= count
        if self._undrawn < SHOWN_WINDOW:
            self._room.set()

    async def _send(self, chunk: bytes) -> None:
        await self._room.wait()
        self._undrawn += len(chunk)
        if self._undrawn >= SHOWN_WINDOW:
            self._room.clear()
        self.used_at = time.monotonic()
        await self._show(chunk)

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            if self._size:
                (columns, rows), self._size = self._size, None
                await self._execution.resize(columns=columns, rows=rows)
            while self._typed:
                chunk = bytes(self._typed[:CHUNK])
                await self._execution.write(chunk)
                del self._typed[: len(chunk)]  # what is being written still counts
                await self._took(len(chunk))

    def _use(self) -> None:
        self.used_at = time.monotonic()
        self._work.set()
