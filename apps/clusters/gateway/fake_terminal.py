"""A terminal with a very small shell behind it: it echoes what is typed, and knows `echo`, `stty size` and `exit`."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from .base import Invalid, Unavailable

WAITING = 16  # chunks of output that nobody has read; then the program waits, as behind a full pipe


class FakeExecution:
    """What a test sees of it: `command`, `size` and `typed`; `say` and `hang_up` are the test's own verbs."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command, self.size, self.typed = list(command), (80, 24), b""
        self.exit_code: int | None = None
        self.is_open = True
        self._line = b""
        self._written: asyncio.Queue[bytes | int | Exception] = asyncio.Queue(WAITING)

    async def output(self) -> AsyncIterator[bytes]:
        if self.command[0] not in {"sh", "/bin/sh"}:
            raise Invalid(f'exec: "{self.command[0]}": executable file not found in $PATH', status=500)
        while True:
            match await self._written.get():
                case bytes() as chunk:
                    yield chunk
                case int() as code:
                    self.exit_code = code
                    return
                case failure:
                    raise failure

    async def write(self, data: bytes) -> None:
        if not self.is_open:
            raise Unavailable("The connection to the container broke.")
        self.typed += data
        await self._written.put(data.replace(b"\r", b"\r\n"))
        *lines, self._line = (self._line + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            await self._written.put(self._run(line.decode().split()))

    async def resize(self, *, columns: int, rows: int) -> None:
        self.size = (columns, rows)

    async def say(self, data: bytes) -> None:
        """What a program writes by itself; waits while too much of it is unread."""
        await self._written.put(data)

    async def hang_up(self) -> None:
        """What a lost node looks like."""
        await self._written.put(Unavailable("The connection to the container broke."))

    def _run(self, words: list[str]) -> bytes | int:
        match words:
            case ["exit", code]:
                return int(code)
            case ["echo", *rest]:
                return " ".join(rest).encode() + b"\r\n"
            case ["stty", "size"]:
                return f"{self.size[1]} {self.size[0]}\r\n".encode()
        return b""
