"""A small asynchronous Kubernetes client over the API's unix socket: everything on the node side uses only
this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

log = logging.getLogger(__name__)

Object = dict[str, Any]
Handler = Callable[[str, Object], None]
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
WATCH_SECONDS = 300
PAGE = 500
BACK_OFF_SECONDS = (0.05, 5.0)


@dataclass(frozen=True)
class Resource:
    """A kind's place in the API."""

    plural: str
    api_version: str = "v1"
    kind: str = ""

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of a collection, an object or one of its subresources."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        parts = [
            root,
            f"namespaces/{namespace}" if namespace else "",
            self.plural,
            name or "",
            subresource or "",
        ]
        return "/".join(part for part in parts if part)


PODS = Resource("pods", kind="Pod")
NODES = Resource("nodes", kind="Node")
EVENTS = Resource("events", kind="Event")
SERVICES = Resource("services", kind="Service")
ENDPOINTS = Resource("endpoints", kind="Endpoints")
SECRETS = Resource("secrets", kind="Secret")
CONFIG_MAPS = Resource("configmaps", kind="ConfigMap")
NAMESPACES = Resource("namespaces", kind="Namespace")
SERVICE_ACCOUNTS = Resource("serviceaccounts", kind="ServiceAccount")
CLAIMS = Resource("persistentvolumeclaims", kind="PersistentVolumeClaim")
VOLUMES = Resource("persistentvolumes", kind="PersistentVolume")
JOBS = Resource("jobs", "batch/v1", "Job")
LEASES = Resource("leases", "coordination.k8s.io/v1", "Lease")
SLICES = Resource("endpointslices", "discovery.k8s.io/v1", "EndpointSlice")
STORAGE_CLASSES = Resource("storageclasses", "storage.k8s.io/v1", "StorageClass")
DEPLOYMENTS = Resource("deployments", "apps/v1", "Deployment")
REPLICA_SETS = Resource("replicasets", "apps/v1", "ReplicaSet")
BUDGETS = Resource("poddisruptionbudgets", "policy/v1", "PodDisruptionBudget")


class ApiError(Exception):
    """The API refused; `code` and `reason` are those of its Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message = code, reason, message

    @property
    def missing(self) -> bool:
        """The object (or the kind) is not there."""
        return self.code == 404

    @property
    def conflict(self) -> bool:
        """Somebody else was first."""
        return self.code == 409


class Client:
    """HTTP verbs with JSON in and out; `learn` hears of every object that a write answers with."""

    learn: Callable[[Resource, Object], None] = staticmethod(lambda resource, obj: None)

    def __init__(self, socket_path: str, token: str) -> None:
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "devcluster", "Accept": JSON}
        connector = aiohttp.UnixConnector(path=socket_path, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._session = aiohttp.ClientSession(
            base_url="http://devcluster", connector=connector, headers=self._headers, timeout=timeout
        )

    async def close(self) -> None:
        """Let all connections go."""
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, str] | None = None,
        kind: str = JSON,
    ) -> Any:
        """One request; `ApiError` for every answer that is not a success."""
        data = orjson.dumps(body) if body is not None else None
        headers = {"Content-Type": kind} if data is not None else None
        async with self._session.request(method, path, data=data, params=query, headers=headers) as response:
            raw = await response.read()
            answer = orjson.loads(raw) if raw[:1] in (b"{", b"[") else {}
            if response.status >= 400:
                raise _error(response.status, answer)
            return answer

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """One object."""
        return await self.call("GET", resource.path(namespace, name))

    async def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        """Create; apiVersion and kind are filled in."""
        full = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return self._learned(resource, await self.call("POST", resource.path(namespace), full))

    async def ensure(self, resource: Resource, namespace: str | None, body: Object) -> None:
        """Create what is not there yet."""
        try:
            await self.create(resource, namespace, body)
        except ApiError as error:
            if not error.conflict:
                raise

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Object,
        subresource: str | None = None,
    ) -> Object:
        """JSON merge patch."""
        path = resource.path(namespace, name, subresource)
        return self._learned(resource, await self.call("PATCH", path, body, kind=MERGE_PATCH))

    async def replace(self, resource: Resource, obj: Object, subresource: str | None = None) -> Object:
        """PUT the object as it is; a stale resourceVersion is a conflict."""
        meta = obj["metadata"]
        full = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        path = resource.path(meta.get("namespace"), meta["name"], subresource)
        return self._learned(resource, await self.call("PUT", path, full))

    def _learned(self, resource: Resource, answer: Object) -> Object:
        if answer.get("kind") == resource.kind:
            self.learn(resource, answer)
        return answer

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, options: Object | None = None
    ) -> Object:
        """Delete; a missing object is what was wanted."""
        with contextlib.suppress(_MissingError):
            return self._learned(resource, await self.call("DELETE", resource.path(namespace, name), options or {}))
        return {}

    async def list(self, resource: Resource, namespace: str | None = None, **query: str) -> tuple[list[Object], str]:
        """All objects, page by page, and the list's resourceVersion."""
        items: list[Object] = []
        query = {"limit": str(PAGE), **query}
        while True:
            answer = await self.call("GET", resource.path(namespace), query=query)
            items += answer.get("items") or []
            token = answer["metadata"].get("continue")
            if not token:
                return items, answer["metadata"].get("resourceVersion", "0")
            query = {**query, "continue": token}

    async def watch(self, resource: Resource, version: str) -> AsyncIterator[Object]:
        """Events since `version` until the server ends the watch; `ApiError` 410 where the version is too
        old.
        """
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async with self._session.get(resource.path(), params=query) as response:
            if response.status >= 400:
                raise _error(response.status, orjson.loads(await response.read()))
            rest = b""
            async for block in response.content.iter_any():
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise _error(event["object"].get("code", 500), event["object"])
                    yield event


class _MissingError(ApiError):
    pass


def _error(status: int, answer: Any) -> ApiError:
    cause = _MissingError if status == 404 else ApiError
    return cause(status, answer.get("reason", ""), answer.get("message", str(answer)))


class Informer:
    """A local copy of one kind: list, watch from there, list again on 410, back off when the API is away.

    It never lags behind what our own client wrote: `learn` takes the answers of writes before the watch tells
    of them. Handlers are called as `handler(type, object)` in the loop and must be quick. Objects are shared:
    never write to one that came from here.
    """

    def __init__(self, client: Client, resource: Resource) -> None:
        self._client, self.resource = client, resource
        self._handlers: list[Handler] = []
        self.items: dict[tuple[str, str], Object] = {}
        self._owned: dict[str, dict[tuple[str, str], Object]] = {}
        self._seen = 0  # The resourceVersion up to which the watch has told everything.
        self.synced = asyncio.Event()

    def subscribe(self, handler: Handler) -> None:
        """Hear of every change from now on, and of everything known already."""
        self._handlers.append(handler)
        for obj in list(self.items.values()):
            handler("ADDED", obj)

    def get(self, namespace: str, name: str) -> Object | None:
        """The object as last seen."""
        return self.items.get((namespace, name))

    def of_namespace(self, namespace: str) -> list[Object]:
        """All objects of a namespace."""
        return [obj for (space, _), obj in self.items.items() if space == namespace]

    def owned_by(self, uid: str) -> list[Object]:
        """All objects whose controller has this uid; with an empty uid, those that have none."""
        return list(self._owned.get(uid, {}).values())

    def learn(self, obj: Object) -> None:
        """An object as a write answered, unless the watch has told of it already."""
        if self.synced.is_set() and _version(obj) > self._seen:
            self._take("MODIFIED" if _key(obj) in self.items else "ADDED", obj)

    async def run(self) -> None:
        """List and watch for ever."""
        failures, version = 0, ""
        while True:
            started = time.monotonic()
            try:
                if not version:
                    version = await self._relist()
                async for event in self._client.watch(self.resource, version):
                    failures = 0
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._seen = int(version)
                    if event["type"] != "BOOKMARK":
                        self._take(event["type"], event["object"])
                # A server that ends every watch at once must not be asked in a tight loop.
                failures += time.monotonic() - started < 1
            except ApiError as error:
                version = ""  # Most often 410: the version is too old. Listing again is the documented way back.
                failures += error.code != 410
                log.debug("watch of %s: %s", self.resource.plural, error)
            except (aiohttp.ClientError, ConnectionError, OSError):
                failures += 1
            if failures:
                low, high = BACK_OFF_SECONDS
                await asyncio.sleep(min(high, low * 2**failures) * random.uniform(0.5, 1))  # noqa: S311 jitter

    async def _relist(self) -> str:
        objects, version = await self._client.list(self.resource)
        named = {"apiVersion": self.resource.api_version, "kind": self.resource.kind}
        fresh = {_key(obj): named | obj for obj in objects}  # Items of a list come without their kind.
        self._seen = int(version)
        for key in [key for key, obj in self.items.items() if key not in fresh and _version(obj) <= self._seen]:
            self._take("DELETED", self.items[key])
        for key, obj in fresh.items():
            self._take("MODIFIED" if key in self.items else "ADDED", obj)
        self.synced.set()
        return version

    def _take(self, kind: str, obj: Object) -> None:
        key = _key(obj)
        known = self.items.get(key)
        if known and _version(known) >= _version(obj) + (kind == "DELETED"):
            return  # We learned this, or newer, from a write of our own.
        if known:
            owner = controller_of(known).get("uid", "")
            del self._owned[owner][key]
            if not self._owned[owner]:
                del self._owned[owner]
        if kind == "DELETED":
            self.items.pop(key, None)
        else:
            self.items[key] = obj
            self._owned.setdefault(controller_of(obj).get("uid", ""), {})[key] = obj
        for handler in self._handlers:
            try:
                handler(kind, obj)
            except Exception:
                log.exception("a handler of %s failed", self.resource.plural)


def controller_of(obj: Object) -> Object:
    """The reference to the object that controls this one; empty where there is none."""
    references = obj["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), {})


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


class Informers:
    """One shared informer per kind."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._all: dict[Resource, Informer] = {}
        client.learn = self._learn

    def _learn(self, resource: Resource, obj: Object) -> None:
        if resource in self._all:
            self._all[resource].learn(obj)

    def __getitem__(self, resource: Resource) -> Informer:
        if resource not in self._all:
            self._all[resource] = Informer(self._client, resource)
        return self._all[resource]

    async def run(self) -> None:
        """Run all that have been asked for so far."""
        await asyncio.gather(*(informer.run() for informer in self._all.values()))

    async def synced(self) -> None:
        """Until every copy is complete."""
        await asyncio.gather(*(informer.synced.wait() for informer in self._all.values()))
