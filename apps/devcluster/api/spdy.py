"""The part of SPDY/3.1 that port-forward speaks: a client opens streams, both sides send data and close them.

Source: the SPDY/3.1 draft, and moby/spdystream, which every kubectl uses: it counts no flow-control windows and never
sends WINDOW_UPDATE, so whoever waits for one waits for ever. Back-pressure is that of the one connection below.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY = 1, 2, 3, 6, 7  # SETTINGS, HEADERS, WINDOW_UPDATE: passed over
FIN = 0x01
PROTOCOL_ERROR, INVALID_STREAM, CANCEL = 1, 2, 5
VERSION = 0x8003
MOST_HEADERS = 64 * 1024  # bytes of a header block once it is unpacked
BACKLOG = 256 * 1024  # bytes that wait in a stream before the connection is read no further

# What header blocks are packed with: names and values with their lengths, then texts without. Its checksum,
# which every packed block begins with, is e3c6a7c2.
_NAMES = """options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age
allow authorization cache-control connection content-base content-encoding content-language content-length
content-location content-md5 content-range content-type date etag expect expires from host if-match if-modified-since
if-none-match if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate
proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning
www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin"""
_TEXTS = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
_WORDS = [word.replace("_", " ").encode() for word in _NAMES.split()]
DICTIONARY = b"".join(struct.pack(">I", len(word)) + word for word in _WORDS) + _TEXTS.encode()

Send = Callable[[bytes], Awaitable[None]]


class ProtocolError(Exception):
    """The peer sent what cannot be understood; the connection cannot go on, since its headers share one state."""


class Reset(Exception):
    """The stream was broken off."""


class Stream:
    """One stream that the client opened: what it sends is read, what is written goes to it."""

    def __init__(self, number: int, headers: dict[str, str], connection: Connection) -> None:
        self.number, self.headers = number, headers
        self._connection = connection
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._ended = self._closed = self._broken = False
        self._changed = asyncio.Condition()

    async def read(self) -> bytes:
        """The next bytes, empty once the client has closed its side; raises `Reset`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._ended or self._broken)
            if self._broken:
                raise Reset
            if not self._waiting:
                return b""
            data = self._waiting.popleft()
            self._size -= len(data)
            self._changed.notify_all()
            return data

    async def write(self, data: bytes) -> None:
        """Raises `Reset` where the stream is over; slow where the client is."""
        if self._broken or self._closed:
            raise Reset
        await self._connection.send_data(self.number, data)

    async def close(self) -> None:
        """Nothing more will be written."""
        if not (self._broken or self._closed):
            self._closed = True
            await self._connection.send_data(self.number, b"", FIN)
            self._connection.forget_finished(self)
            async with self._changed:
                self._changed.notify_all()

    async def reset(self, status: int = CANCEL) -> None:
        """Break the stream off for both sides."""
        if not self._broken and not self.finished:
            await self.break_off()
            await self._connection.send_reset(self.number, status)

    @property
    def finished(self) -> bool:
        """Both sides have closed."""
        return self._ended and self._closed

    async def over(self) -> None:
        """Until the stream was broken off, or both sides have closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._broken or self.finished)

    async def take(self, data: bytes, *, last: bool) -> None:
        """What the client sent; waits while a reader lags, and with it the whole connection does."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._size < BACKLOG or self._broken or self._closed)
            # Once our side has closed nobody reads on: bytes that still come are let go.
            if data and not (self._ended or self._broken or self._closed):
                self._waiting.append(data)
                self._size += len(data)
            self._ended = self._ended or last
            self._changed.notify_all()

    async def break_off(self) -> None:
        """The client, or the connection, is gone: readers and writers are told."""
        async with self._changed:
            self._broken = True
            self._waiting.clear()
            self._changed.notify_all()


class Connection:
    """The server's side of one connection; bytes come in by `feed` and leave by `send`.

    `opened` is called with each stream before it is accepted, and refuses one by raising `ValueError`. A task that it
    starts must not write before the loop has turned once: kubectl drops data that comes before SYN_REPLY.
    """

    def __init__(self, send: Send, opened: Callable[[Stream], None]) -> None:
        self._send, self._opened = send, opened
        self._unpack, self._pack = zlib.decompressobj(zdict=DICTIONARY), zlib.compressobj(zdict=DICTIONARY)
        self._rest = bytearray()
        self._last = 0
        self.streams: dict[int, Stream] = {}
        self.gone_away = False

    async def feed(self, data: bytes) -> None:
        """Bytes of the client, cut anywhere; raises `ProtocolError`."""
        self._rest += data
        while len(self._rest) >= 8:
            first, second = struct.unpack_from(">II", self._rest)
            flags, length = second >> 24, second & 0xFFFFFF
            if len(self._rest) < 8 + length:
                return
            body = bytes(memoryview(self._rest)[8 : 8 + length])
            del self._rest[: 8 + length]
            if not first >> 31:
                await self._data(first, body, flags)
            elif first >> 16 != VERSION:
                raise ProtocolError(f"frames of version {first >> 16 & 0x7FFF}, only 3")
            else:
                await self._control(first & 0xFFFF, body, flags)

    async def close(self) -> None:
        """Every stream is over; nothing is sent."""
        for stream in list(self.streams.values()):
            await stream.break_off()
        self.streams.clear()

    async def send_data(self, number: int, data: bytes, flags: int = 0) -> None:
        """One DATA frame."""
        await self._send(struct.pack(">II", number, flags << 24 | len(data)) + data)

    async def send_reset(self, number: int, status: int) -> None:
        """RST_STREAM, and the stream is forgotten."""
        self.streams.pop(number, None)
        await self._send(_frame(RST_STREAM, struct.pack(">II", number, status)))

    def forget_finished(self, stream: Stream) -> None:
        """A stream that both sides have closed needs no more room."""
        if stream.finished:
            self.streams.pop(stream.number, None)

    async def _data(self, number: int, data: bytes, flags: int) -> None:
        stream = self.streams.get(number)
        if stream is not None:
            await stream.take(data, last=bool(flags & FIN))
            self.forget_finished(stream)
        elif number > self._last:  # Others are over: what was under way when they ended is let go.
            await self.send_reset(number, INVALID_STREAM)

    async def _control(self, kind: int, body: bytes, flags: int) -> None:
        if kind == SYN_STREAM:
            await self._open(body, flags)
        elif kind == RST_STREAM:
            stream = self.streams.pop(_number(body), None)
            if stream is not None:
                await stream.break_off()
        elif kind == PING and _number(body) % 2:  # Odd ones are the client's; it wants them back.
            await self._send(_frame(PING, body))
        elif kind == GOAWAY:
            self.gone_away = True

    async def _open(self, body: bytes, flags: int) -> None:
        number = _number(body)
        headers = self._headers(body[10:])  # Also of a refused stream: the packer's state is the connection's.
        if not number % 2 or number <= self._last:
            await self.send_reset(number, PROTOCOL_ERROR)
            return
        self._last = number
        stream = Stream(number, headers, self)
        await stream.take(b"", last=bool(flags & FIN))
        try:
            self._opened(stream)
        except ValueError:
            await self.send_reset(number, PROTOCOL_ERROR)
            return
        self.streams[number] = stream
        packed = self._pack.compress(struct.pack(">I", 0)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        await self._send(_frame(SYN_REPLY, struct.pack(">I", number) + packed))

    def _headers(self, packed: bytes) -> dict[str, str]:
        try:
            plain = self._unpack.decompress(packed, MOST_HEADERS)
            if self._unpack.unconsumed_tail:
                raise ProtocolError("headers that are too large")
            count, at, found = struct.unpack_from(">I", plain)[0], 4, {}
            for _ in range(count):
                name, at = _text(plain, at)
                found[name], at = _text(plain, at)
        except (zlib.error, struct.error, UnicodeDecodeError) as error:
            raise ProtocolError(f"headers that cannot be read: {error}") from error
        return found


def _frame(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHI", VERSION, kind, len(body)) + body


def _number(body: bytes) -> int:
    """The stream, or the ping, that a control frame is about."""
    if len(body) < 4:
        raise ProtocolError("a frame that is too short")
    return int.from_bytes(body[:4], "big") & 0x7FFFFFFF


def _text(plain: bytes, at: int) -> tuple[str, int]:
    end = at + 4 + struct.unpack_from(">I", plain, at)[0]
    if end > len(plain):
        raise ProtocolError("headers that are cut short")
    return plain[at + 4 : end].decode(), end
