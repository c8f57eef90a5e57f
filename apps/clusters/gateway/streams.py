"""The asynchronous face: aiohttp, raw JSON and raw log bytes.

No generated client stands between: none of them can ask for a log with `sinceTime`, their watch helper asks for a
finished log again for ever, and typed pods cost 10 times the CPU of JSON.
"""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import structlog
from django.utils.translation import gettext as _
from requests.utils import should_bypass_proxies  # what the official client asks

from .answers import read_object, refusal, status_refusal
from .base import Execution, Manifest, Unavailable, VersionExpired, WatchEvent
from .execution import LARGEST_MESSAGE, PING_SECONDS, PROTOCOLS, Socket, SocketExecution
from .kubeconfig import Kubeconfig, parse
from .wire import CONNECT_SECONDS, KEEPALIVE, PAGE, READ_SECONDS, WATCH_SLACK_SECONDS, segment, selection, watching

WATCH_SECONDS = 300
LONGEST_BACK_OFF_SECONDS = 30.0
LONGEST_LINE = 16 * 1024 * 1024  # etcd keeps no object above 1.5 MiB
PODS = "/api/v1/pods"

logger = structlog.get_logger(__name__)


class KubernetesStreams:
    """Connections of one cluster for one event loop. Any number of follows at once: each holds one connection."""

    def __init__(self, kubeconfig: str) -> None:
        self._config = parse(kubeconfig)
        self._tls = self._config.tls()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def pod_events(self, *, labels: Mapping[str, str]) -> AsyncIterator[WatchEvent]:
        selected = selection(labels)
        known: dict[str, Manifest] = {}
        version, failures = "", 0
        while True:
            try:
                if not version:
                    pods, version = await self._list_pods(selected)
                    for event in _differences(known, pods):
                        yield event
                async for event in self._watch_pods(selected, version):
                    failures = 0
                    version = event.object["metadata"]["resourceVersion"]
                    if event.type != "BOOKMARK":
                        _remember(known, event)
                        yield event
                failures = 0
            except VersionExpired:  # The API server forgets old versions; listing again is the documented way back.
                version = ""
            except Unavailable as error:
                failures += 1
                logger.warning("pod_events_interrupted", error=str(error), failures=failures)
                await asyncio.sleep(back_off(failures))

    async def follow_log(
        self,
        *,
        namespace: str,
        pod: str,
        container: str,
        since_time: str = "",
        previous: bool = False,
        follow: bool = True,
        tail_lines: int | None = None,
    ) -> AsyncIterator[bytes]:
        query = {"container": container, "timestamps": "true"}
        query |= {"tailLines": str(tail_lines)} if tail_lines is not None else {}
        query |= {"follow": "true"} if follow else {}
        query |= {"previous": "true"} if previous else {}
        query |= {"sinceTime": since_time} if since_time else {}
        path = f"/api/v1/namespaces/{segment(namespace)}/pods/{segment(pod)}/log"
        # A container may be silent for days, so a follow has no read time-out; TCP keep-alive finds dead peers.
        async with self._get(path, query, read_seconds=None if follow else READ_SECONDS) as response:
            async for chunk in response.content.iter_any():
                yield chunk

    @asynccontextmanager
    async def exec(
        self, *, namespace: str, pod: str, container: str, command: Sequence[str]
    ) -> AsyncIterator[Execution]:
        path = f"/api/v1/namespaces/{segment(namespace)}/pods/{segment(pod)}/exec"
        wanted = [("container", container), ("stdin", "true"), ("stdout", "true"), ("tty", "true")]
        socket = await self._upgrade(path, wanted + [("command", word) for word in command])
        try:
            yield SocketExecution(socket)
        finally:
            await socket.close()

    async def _list_pods(self, selected: dict[str, str]) -> tuple[list[Manifest], str]:
        items: list[Manifest] = []
        page = {"limit": str(PAGE)}
        while True:
            async with self._get(PODS, selected | page, read_seconds=READ_SECONDS) as response:
                answer = read_object(await response.read())
            items += [{"apiVersion": "v1", "kind": "Pod", **item} for item in answer.get("items") or []]
            meta = answer.get("metadata") or {}
            if not meta.get("continue"):
                return items, str(meta.get("resourceVersion", ""))
            page = {"limit": str(PAGE), "continue": meta["continue"]}

    async def _watch_pods(self, selected: dict[str, str], version: str) -> AsyncIterator[WatchEvent]:
        query = selected | watching(version, WATCH_SECONDS)
        async with self._get(PODS, query, read_seconds=WATCH_SECONDS + WATCH_SLACK_SECONDS) as response:
            async for line in _lines(response):
                event = read_object(line)
                if event.get("type") == "ERROR":
                    raise status_refusal(event.get("object") or {"code": 500})
                yield WatchEvent(event["type"], event["object"])

    @asynccontextmanager
    async def _get(
        self, path: str, query: dict[str, str], *, read_seconds: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An open 2xx answer; other answers and broken connections are raised as what they mean."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=read_seconds)
        try:
            async with self._open().get(
                self._config.server + path,
                params=query,
                timeout=timeout,
                allow_redirects=False,  # Credentials go to the server that was registered and nowhere else.
                server_hostname=self._config.server_name or None,
            ) as response:
                if response.status >= 300:
                    raise refusal(response.status, await response.content.read(64 * 1024))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                _("The connection to the API server broke: %s") % (str(error)[:300] or "time-out")
            ) from error

    async def _upgrade(self, path: str, query: list[tuple[str, str]]) -> Socket:
        try:
            return await self._open().ws_connect(
                self._config.server + path,
                params=query,
                protocols=PROTOCOLS,
                heartbeat=PING_SECONDS,
                max_msg_size=LARGEST_MESSAGE,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
                server_hostname=self._config.server_name or None,
            )
        except aiohttp.WSServerHandshakeError as error:
            refused = refusal(error.status, error.message.encode())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                _("The connection to the API server broke: %s") % (str(error)[:300] or "time-out")
            ) from error
        if refused.status in {400, 403, 404}:  # aiohttp drops the words of a refusal; asked plainly, they come again.
            async with self._get(path, dict(query), read_seconds=READ_SECONDS):
                pass
        raise refused

    def _open(self) -> aiohttp.ClientSession:
        """The session, made in the event loop it serves."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls or False, limit=0, socket_factory=_socket),
                trust_env=uses_proxy(self._config),
                headers={**self._config.headers, "Accept": "application/json, */*", "User-Agent": "cube"},
                read_bufsize=256 * 1024,
                trace_configs=[_without_redirects()],
            )
        return self._session


def uses_proxy(config: Kubeconfig) -> bool:
    """Whether the machine's proxy settings count, by the same rule as for the synchronous face: aiohttp alone would not
    understand an address range in NO_PROXY."""
    return not (config.is_loopback or should_bypass_proxies(config.server, no_proxy=None))


def _without_redirects() -> aiohttp.TraceConfig:
    """Credentials go to the server that was registered; a WebSocket's request has no option of its own to say so."""

    async def refuse(*_details: Any) -> None:
        raise Unavailable(_("The API server wants to send its clients elsewhere, and Cube does not follow."))

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return trace


def _socket(address: Any) -> socket.socket:
    family, kind, protocol, *_rest = address
    made = socket.socket(family, kind, protocol)
    for level, name, value in KEEPALIVE:
        made.setsockopt(level, name, value)
    return made


def back_off(failures: int) -> float:
    """Seconds to wait after the n-th failure in a row: doubling to 30, with jitter so that crowds spread."""
    return random.uniform(0.5, 1.0) * min(LONGEST_BACK_OFF_SECONDS, 0.5 * 2 ** min(failures, 10))  # noqa: S311


def _remember(known: dict[str, Manifest], event: WatchEvent) -> None:
    uid = event.object["metadata"]["uid"]
    if event.type == "DELETED":
        known.pop(uid, None)
    else:
        known[uid] = {"apiVersion": "v1", "kind": "Pod", "metadata": event.object["metadata"]}


def _differences(known: dict[str, Manifest], pods: list[Manifest]) -> list[WatchEvent]:
    """A list as events: what vanished while nobody watched, then everything that is there."""
    present = {pod["metadata"]["uid"] for pod in pods}
    events = [WatchEvent("DELETED", known.pop(uid)) for uid in [*known] if uid not in present]
    for pod in pods:
        event = WatchEvent("ADDED", pod)
        _remember(known, event)
        events.append(event)
    return events


async def _lines(response: Any) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise Unavailable(_("The watch sent a line that is too long to be an object."))
        for line in whole:
            if line:
                yield line
