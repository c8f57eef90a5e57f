"""Makes services reachable, as kube-proxy does: a listener per service port passes connections to ready endpoints.

The listener stands only while there is somebody to pass to. Pods share the host's network, so a service whose
port is also its pods' port waits until they listen: were it first, a server that binds all addresses could not
start. Once such a server runs, the service's address, being one of 127/8, reaches it without any help.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sys
from collections.abc import Iterable

import psutil

from apps.devcluster.client import SERVICES, SLICES, Client, Informers, Object
from apps.devcluster.loops import Recorder, WorkQueue

NAME_LABEL = "kubernetes.io/service-name"
LOOK_AGAIN_SECONDS, BLOCKED_SECONDS = 0.3, 5.0
BLOCK = 65536
Address = tuple[str, int]


class Listener:
    """One open address and the endpoints that take turns behind it."""

    def __init__(self) -> None:
        self.endpoints: list[Address] = []
        self.server: asyncio.Server | None = None
        self._turn = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection to the next endpoint that takes it."""
        with contextlib.closing(writer):
            for _ in range(len(self.endpoints)):
                self._turn += 1
                with contextlib.suppress(OSError):
                    inner = await asyncio.open_connection(*self.endpoints[self._turn % len(self.endpoints)])
                    with contextlib.closing(inner[1]):
                        await asyncio.gather(_copy(reader, inner[1]), _copy(inner[0], writer))
                    return


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


class ServiceProxy:
    """Services, from their informer and that of their EndpointSlices."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._services, self._slices = informers[SERVICES], informers[SLICES]
        self._recorder = Recorder(client, "kube-proxy")
        self._open: dict[tuple[str, str], dict[Address, Listener]] = {}
        self.queue = WorkQueue(self.reconcile)
        self._services.subscribe(lambda kind, obj: self.queue.add(*_key(obj)))
        self._slices.subscribe(self._on_slice)

    def _on_slice(self, kind: str, item: Object) -> None:
        if service := (item["metadata"].get("labels") or {}).get(NAME_LABEL):
            self.queue.add(item["metadata"]["namespace"], service)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Open and close what one service needs."""
        service = self._services.get(namespace, name)
        slices = [s for s in self._slices.of_namespace(namespace) if name == _service_of(s)]
        wanted = {at: endpoints_of(slices, port) for at, port in _doors(service)}
        listeners = self._open.setdefault((namespace, name), {})
        for at in [at for at in listeners if not wanted.get(at)]:
            _close(listeners.pop(at))
        waits = []
        for at, endpoints in wanted.items():
            if at in listeners:
                listeners[at].endpoints = endpoints
            elif endpoints and service:
                waits.append(await self._try_open(service, at, endpoints))
        if not listeners:
            self._open.pop((namespace, name), None)
        return min(filter(None, waits), default=None)

    async def _try_open(self, service: Object, at: Address, endpoints: list[Address]) -> float | None:
        """Listen; seconds after which to try again where that is not possible yet."""
        same = {address for address, port in endpoints if port == at[1]}
        if same:
            heard = listening(at[1])
            if heard & {"0.0.0.0", "::"}:  # noqa: S104 a server on all addresses, hence on the service's too
                return BLOCKED_SECONDS
            if not heard & same:
                return LOOK_AGAIN_SECONDS
        listener = Listener()
        try:
            listener.server = await asyncio.start_server(listener.serve, *at)
        except OSError as error:
            why = errno.errorcode.get(error.errno or 0, "")
            text = f"cannot listen on {at[0]}:{at[1]} for this service: {why} {error.strerror or error}"
            self._recorder.tell(service, "FailedToListen", text, kind="Service", warning=True)
            return BLOCKED_SECONDS
        listener.endpoints = endpoints
        self._open[_key(service)][at] = listener
        return None

    def close(self) -> None:
        """Close every listener."""
        self.queue.close()
        for listeners in self._open.values():
            for listener in listeners.values():
                _close(listener)


def _close(listener: Listener) -> None:
    if listener.server:
        listener.server.close()


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _service_of(item: Object) -> str:
    return (item["metadata"].get("labels") or {}).get(NAME_LABEL, "")


def _doors(service: Object | None) -> Iterable[tuple[Address, str]]:
    """Each address a service answers on, and the name of its port. Only Linux has all of 127/8."""
    spec = service["spec"] if service else {}
    address = spec.get("clusterIP") or "None"
    for port in spec.get("ports") or ():
        if port.get("protocol", "TCP") != "TCP" or spec["type"] == "ExternalName":
            continue
        if address != "None" and sys.platform == "linux":
            yield (address, port["port"]), port.get("name", "")
        if port.get("nodePort"):
            yield ("127.0.0.1", port["nodePort"]), port.get("name", "")


def endpoints_of(slices: list[Object], port_name: str) -> list[Address]:
    """The ready endpoints of a port; where there are none, those that end but still serve."""
    found: dict[bool, list[Address]] = {True: [], False: []}
    for item in slices:
        ports = [port["port"] for port in item.get("ports") or () if (port.get("name") or "") == port_name]
        for endpoint in item.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            ready = conditions.get("ready", True)
            if ready or (conditions.get("serving") and conditions.get("terminating")):
                found[ready] += [(endpoint["addresses"][0], port) for port in ports]
    return found[True] or found[False]


def listening(port: int) -> set[str]:
    """The addresses on which somebody listens on this port."""
    found = (c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN)
    return {connection.laddr.ip for connection in found if connection.laddr.port == port}
