"""exec and attach over a WebSocket, and the pod proxy.

Sources: k8s.io/apiserver/pkg/util/proxy (stream translator), pkg/registry/core/pod/strategy.go (ExecLocation), the
channel protocols of k8s.io/apimachinery/pkg/util/remotecommand, and the recording `pod_exec`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets

import aiohttp
import orjson
from aiohttp import web

from . import errors, logs, rbac
from . import request as asked
from .context import Api
from .node_port import CannotStart, NodeRefusal, Session
from .request import Target
from .service_proxy import relay
from .store import Object

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
CHANNELS = {b"stdout": STDOUT, b"stderr": STDERR}
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
INPUT_BACKLOG = 1 << 20
# Those of one connection only, and the credentials for this server.


async def serve(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """exec and attach: refusals first, as long as there is a status to refuse with."""
    pod = api.objects.find(target.resource, target.namespace, target.name).obj
    container = logs.container_of(pod, target.name, request.query.get("container", ""))
    check_upgrade(api, request, target, pod)
    stdin, stdout, stderr, tty = (asked.flag(request, name) for name in ("stdin", "stdout", "stderr", "tty"))
    if not (stdin or stdout or stderr):
        return web.Response(status=400, text="you must specify at least 1 of stdin, stdout, stderr")
    protocol = agreed(request, (V5, V4))
    if protocol is None:
        return web.Response(status=403)
    if api.node is None:
        raise errors.not_implemented(f"pods/{target.subresource} without a node")
    wanted = {"pod": pod, "container": container, "stdin": stdin}
    try:
        if target.subresource == "exec":
            command = request.query.getall("command", [])
            session = await api.node.open_exec(**wanted, command=command, tty=tty)
        else:
            session = await api.node.open_attach(**wanted)
    except NodeRefusal as why:
        return web.Response(status=500, text=str(why))
    except CannotStart as why:
        return await _say_only(request, protocol, _cannot_start(str(why)))
    shown = {STDOUT} if stdout else set()
    shown |= {STDERR} if stderr and not tty else set()
    try:
        return await _converse(request, protocol, session, shown)
    finally:
        await session.close()


def check_upgrade(api: Api, request: web.Request, target: Target, pod: Object) -> None:
    """Refuse what cannot become a stream: a pod without a node, no WebSocket, no right to `create`."""
    if not pod["spec"].get("nodeName"):
        raise errors.bad_request(f"pod {target.name} does not have a host assigned")
    upgrade = request.headers.get("Upgrade", "").lower()
    if not upgrade or "upgrade" not in request.headers.get("Connection", "").lower():
        raise errors.bad_request("Upgrade request required")
    if upgrade != "websocket":
        raise errors.not_implemented(f"{upgrade} streams, only WebSockets")
    who = request[asked.IDENTITY]  # Since 1.35 a WebSocket's GET needs `create` too, as the POST of SPDY did.
    label = f"pods/{target.subresource}"
    rbac.require(api.store, who, rbac.Question("create", "", label, target.namespace, target.name))


def agreed(request: web.Request, offered: tuple[str, ...]) -> str | None:
    """The first protocol of the client's that is offered here."""
    asked_for = [text.strip() for text in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    return next((protocol for protocol in asked_for if protocol in offered), None)


async def open_socket(request: web.Request, protocol: str) -> web.WebSocketResponse:
    """The WebSocket, once the client has been told which protocol is spoken."""
    socket = web.WebSocketResponse(protocols=(protocol,), compress=False, max_msg_size=0, timeout=2)
    await socket.prepare(request)
    return socket


async def _converse(request: web.Request, protocol: str, session: Session, shown: set[int]) -> web.WebSocketResponse:
    """Until the command has ended or the client has gone, whichever is first."""
    socket = await open_socket(request, protocol)
    await socket.send_bytes(bytes([min(shown, default=ERROR)]))  # Says that the connection stands.

    async def show(name: bytes, data: bytes) -> None:
        if CHANNELS[name] in shown:
            await socket.send_bytes(bytes([CHANNELS[name]]) + data)

    output = asyncio.create_task(session.pump(show))
    hearing = asyncio.create_task(_hear(socket, session))
    try:
        await asyncio.wait({output, hearing}, return_when=asyncio.FIRST_COMPLETED)
        if output.done():
            await socket.send_bytes(bytes([ERROR]) + _status(protocol, _ended(output.result())))
    finally:
        for task in (output, hearing):
            task.cancel()
        await asyncio.gather(output, hearing, return_exceptions=True)
    await socket.close()
    return socket


async def _hear(socket: web.WebSocketResponse, session: Session) -> None:
    async for message in socket:
        data = message.data.encode() if isinstance(message.data, str) else message.data
        channel, rest = data[0] if data else ERROR, data[1:]
        if channel == STDIN:
            session.write(rest)
            while session.input_backlog > INPUT_BACKLOG:
                await asyncio.sleep(0.01)
        elif channel == CLOSE and rest == bytes([STDIN]):
            session.close_input()
        elif channel == RESIZE:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                size = json.loads(rest)
                session.resize(int(size["Width"]), int(size["Height"]))


def _ended(code: int) -> Object:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    why = f"command terminated with non-zero exit code: command terminated with exit code {code}"
    details = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    head = {"metadata": {}, "status": "Failure", "message": why}
    return head | {"reason": "NonZeroExitCode", "details": details}


def _cannot_start(text: str) -> Object:
    runtime = f'failed to start exec "{secrets.token_hex(32)}": OCI runtime exec failed: exec failed: {text}'
    cause = f"Internal error occurred: error executing command in container: failed to exec in container: {runtime}"
    head = {"metadata": {}, "status": "Failure", "message": f"Internal error occurred: {cause}"}
    return head | {"reason": "InternalError", "details": {"causes": [{"message": cause}]}, "code": 500}


def _status(protocol: str, body: Object) -> bytes:
    return orjson.dumps(body if protocol == V5 else {key: body[key] for key in body if key != "metadata"})


async def _say_only(request: web.Request, protocol: str, body: Object) -> web.WebSocketResponse:
    socket = await open_socket(request, protocol)
    await socket.send_bytes(bytes([STDOUT]))
    await socket.send_bytes(bytes([ERROR]) + _status(protocol, body))
    await socket.close()
    return socket


async def proxy(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """One HTTP request passed on to a port of the pod (`NAME:PORT`, by default 80)."""
    name, _, port = target.name.partition(":")
    pod = api.objects.find(target.resource, target.namespace, name).obj
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise errors.bad_request(f"pod {name} does not have a host assigned")
    try:
        return await relay(request, f"http://{address}:{port or 80}")
    except (aiohttp.ClientError, ValueError):
        why = f"error trying to reach service: dial tcp {address}:{port or 80}: connect: connection refused"
        raise errors.ApiError(503, "ServiceUnavailable", why) from None
