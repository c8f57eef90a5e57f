"""port-forward: connections to a pod's ports, carried in a WebSocket.

Two forms: `SPDY/3.1+portforward.k8s.io`, which kubectl speaks since 1.31 (SPDY frames as binary messages, for each
connection a stream of data and one of errors), and `v4.channel.k8s.io` with `ports`, the Python client's.
Sources: k8s.io/client-go/tools/portforward, k8s.io/kubelet/pkg/cri/streaming/portforward.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from . import errors, streams
from .context import Api
from .request import Target
from .spdy import Connection, ProtocolError, Reset, Stream
from .store import Object

V4, TUNNEL = "v4.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"
BLOCK = 64 * 1024
LINGER_SECONDS = 1.0  # how long a pod that has said everything is still told what the client sends
PING_SECONDS = 5.0
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def serve(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """Until the client leaves."""
    pod = api.objects.find(target.resource, target.namespace, target.name).obj
    streams.check_upgrade(api, request, target, pod)
    protocol = streams.agreed(request, (TUNNEL, V4))
    if protocol is None:
        raise errors.not_implemented(f"port forwarding in another protocol than {TUNNEL} and {V4}")
    ports = _ports(request) if protocol == V4 else []
    if protocol == V4 and not ports:
        return web.Response(status=400, text='query parameter "ports" is required')
    if (pod.get("status") or {}).get("phase") != "Running":
        return web.Response(status=500, text=f'pod "{target.name}" is not running')
    socket = await streams.open_socket(request, protocol)
    if protocol == V4:
        await _channels(socket, _Door(api, pod), ports)
    else:
        await _Tunnel(socket, _Door(api, pod)).run()
    return socket


class _Door:
    """Opens connections to one pod."""

    def __init__(self, api: Api, pod: Object) -> None:
        self._api, self._pod = api, pod

    async def open(self, port: int) -> Pair:
        """The pod's own address, then the host's loopback, which is its localhost; `OSError` with a runtime's words."""
        meta = self._pod["metadata"]
        found = self._api.store.get("pods", meta["namespace"], meta["name"])
        why = f"error forwarding port {port} to pod {meta['name']}, uid {meta['uid']}: "
        if found is None or found.obj["metadata"]["uid"] != meta["uid"]:
            raise OSError(f'{why}pod not found ("{meta["name"]}_{meta["namespace"]}")')
        if found.obj["status"].get("phase") != "Running":  # Its address may be another's by now.
            raise OSError(f"{why}sandbox container is not running")
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(found.obj["status"]["podIP"], port)
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            text = os.strerror(error.errno).lower() if error.errno else str(error)
            dialled = f"failed to connect to localhost:{port}: dial tcp4 127.0.0.1:{port}: connect: {text}"
            raise OSError(why + dialled) from error


# -- SPDY in a WebSocket


class _Tunnel:
    """One kubectl: pairs its streams and gives each pair a connection to the pod."""

    def __init__(self, socket: web.WebSocketResponse, door: _Door) -> None:
        self._socket, self._door = socket, door
        self._connection = Connection(socket.send_bytes, self._opened)
        self._single: dict[str, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the client leaves; whatever was opened for it is closed then."""
        self._start(self._ping())
        try:
            async for message in self._socket:
                if message.type is not WSMsgType.BINARY:
                    raise ProtocolError("a message that is not binary")
                await self._connection.feed(message.data)
                if self._connection.gone_away and not self._connection.streams:
                    break
        except ProtocolError as error:
            await self._socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=str(error).encode()[:120])
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._connection.close()

    async def _ping(self) -> None:
        """A dead client is noticed by a write, also while its bytes are not read since the pod does not take them."""
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(PING_SECONDS)
                await self._socket.ping()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _opened(self, stream: Stream) -> None:
        """The second stream of a request starts its connection; the order is the client's."""
        port, kind = int(stream.headers.get("port", "")), stream.headers.get("streamtype")
        number = stream.number if kind == "error" else stream.number - 2  # how clients before 1.3 paired them
        request = stream.headers.get("requestid") or str(number)
        if kind not in ("data", "error") or not 0 < port < 65536:
            raise ValueError("a stream of no known kind")
        other = self._single.pop(request, None)
        if other is None:
            self._single[request] = stream
        elif other.headers["streamtype"] == kind:
            self._single[request] = other
            raise ValueError(f"{kind} stream already assigned")
        else:
            self._start(self._forward(*((stream, other) if kind == "data" else (other, stream)), port))

    async def _forward(self, data: Stream, error: Stream, port: int) -> None:
        with contextlib.suppress(ConnectionError, Reset):
            try:
                reader, writer = await self._door.open(port)
            except OSError as refusal:
                await error.write(str(refusal).encode())
                await error.close()
                await data.close()
                return
            try:
                await _relay(data, error, reader, writer)
            finally:
                writer.transport.abort()


async def _relay(data: Stream, error: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Both ways until the pod has said everything, or either side breaks off."""
    outward, inward = asyncio.create_task(_outward(reader, data)), asyncio.create_task(_inward(data, writer))
    try:
        await asyncio.wait({outward, inward}, return_when=asyncio.FIRST_COMPLETED)
        if outward.done() and not outward.exception():
            await data.close()
            await error.close()
            await asyncio.wait({inward}, timeout=LINGER_SECONDS)
    finally:
        for task in (outward, inward):
            task.cancel()
        await asyncio.gather(outward, inward, return_exceptions=True)
    # As a runtime does where the pod breaks off: this connection is over, the others go on, and nothing is an error.
    await data.reset()
    await error.close()


async def _outward(reader: asyncio.StreamReader, data: Stream) -> None:
    while block := await reader.read(BLOCK):
        await data.write(block)


async def _inward(data: Stream, writer: asyncio.StreamWriter) -> None:
    """Until the client breaks off, or both sides are through; its end of input is passed on."""
    with contextlib.suppress(OSError):
        while block := await data.read():
            writer.write(block)
            await writer.drain()
        writer.write_eof()
    while await data.read():  # A pod that listens no more may still be answering.
        pass
    await data.over()


# -- channels in a WebSocket


def _ports(request: web.Request) -> list[int]:
    """Those asked for; empty where one of them is no port."""
    try:
        ports = [int(part) for text in request.query.getall("ports", []) for part in text.split(",")]
    except ValueError:
        return []
    return ports if all(0 < port < 65536 for port in ports) else []


async def _channels(socket: web.WebSocketResponse, door: _Door, ports: list[int]) -> None:
    """Two channels for each port, data and errors, each opened with the port as two bytes."""
    queues: list[asyncio.Queue[bytes]] = [asyncio.Queue(64) for _ in ports]
    for channel in range(2 * len(ports)):
        await socket.send_bytes(bytes([channel]) + ports[channel // 2].to_bytes(2, "little"))
    work = [asyncio.create_task(_channel(socket, door, n, port, queues[n])) for n, port in enumerate(ports)]
    try:
        async for message in socket:
            number, is_error = divmod(message.data[0], 2) if message.data else (len(ports), 0)
            if number < len(ports) and not is_error:
                await queues[number].put(message.data[1:])
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


async def _channel(
    socket: web.WebSocketResponse, door: _Door, number: int, port: int, queue: asyncio.Queue[bytes]
) -> None:
    try:
        reader, writer = await door.open(port)
    except OSError as refusal:
        await socket.send_bytes(bytes([2 * number + 1]) + str(refusal).encode())
        return

    async def inward() -> None:
        while True:
            writer.write(await queue.get())
            await writer.drain()

    feeding = asyncio.create_task(inward())
    try:
        while data := await reader.read(BLOCK):
            await socket.send_bytes(bytes([2 * number]) + data)
    finally:
        feeding.cancel()
        writer.close()
    await socket.close()
