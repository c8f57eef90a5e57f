"""The HTTP side: the parts of the Kubernetes API that a reader of logs asks for."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from .answers import Refusal, answer, selects, status
from .cluster import Cluster, Pod
from .control import Control
from .logs import Follows, LogAnswer
from .rules import Rules
from .writers import Press

VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.3", "platform": "linux/amd64"}
RESOURCES = [("pods", "Pod", True), ("namespaces", "Namespace", False), ("nodes", "Node", False)]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LogServer:
    """One cluster. `app` is served by whoever made it; `control` is the other door, for the benchmark."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.cluster = Cluster(self.rules)
        self.follows = Follows()
        self.requests: Counter[str] = Counter()
        self._tokens, self._counted_at = float(self.rules.request_burst), time.monotonic()
        self.app = web.Application(middlewares=[self._guard], client_max_size=64 * 2**20)
        self.app.cleanup_ctx.append(self._background)
        get = self.app.router.add_get
        get("/version", lambda _: _done(VERSION))
        get("/api", lambda _: _done({"kind": "APIVersions", "versions": ["v1"]}))
        get("/apis", lambda _: _done({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}))
        get("/api/v1", lambda _: _done(_resources()))
        get("/api/v1/nodes", self._nodes)
        get("/api/v1/namespaces", lambda _: _done(_list("NamespaceList", [], "1")))
        get("/api/v1/pods", self._pods)
        get("/api/v1/namespaces/{namespace}/pods", self._pods)
        get("/api/v1/namespaces/{namespace}/pods/{name}", self._pod)
        get("/api/v1/namespaces/{namespace}/pods/{name}/log", self._log)

    async def _background(self, app: web.Application) -> AsyncIterator[None]:
        press = Press(self.cluster)
        control = Control(self, press)
        self._control = control
        tasks = [asyncio.create_task(press.run()), asyncio.create_task(self._rotate_for_ever())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _rotate_for_ever(self) -> None:
        """As the kubelet's worker: looks at every running container's file now and then, not at each write."""
        while True:
            await asyncio.sleep(self.rules.rotate_every)
            for pod in list(self.cluster.pods.values()):
                for container in pod.containers.values():
                    if not container.run.is_ended and container.run.file.size > self.rules.rotate_bytes:
                        container.run.rotate()

    # -- every request -----------------------------------------------------------------------------------------------
    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/bench/"):
            return await self._control.handle(request)
        try:
            self._admit(request)
            if self.rules.latency:
                await asyncio.sleep(self.rules.latency)
            return await handler(request)
        except Refusal as refusal:
            return answer(status(refusal), refusal.code)
        except web.HTTPNotFound:
            return answer(status(Refusal(404, "the server could not find the requested resource")), 404)

    def _admit(self, request: web.Request) -> None:
        kind = "log" if request.path.endswith("/log") else "watch" if request.query.get("watch") else "other"
        self.requests[kind] += 1
        rate = self.rules.requests_per_second
        if not rate:
            return
        now = time.monotonic()
        self._tokens = min(self.rules.request_burst, self._tokens + (now - self._counted_at) * rate)
        self._counted_at = now
        if self._tokens < 1:
            self.requests["refused"] += 1
            raise Refusal(429, "the server has received too many requests and has asked us to try again later")
        self._tokens -= 1

    # -- objects -----------------------------------------------------------------------------------------------------
    async def _nodes(self, request: web.Request) -> web.Response:
        items = [{"metadata": {"name": name, "labels": {}}, "status": {}} for name in self.cluster.nodes]
        return answer(_list("NodeList", items, str(self.cluster.version)))

    def _matches(self, request: web.Request, pod: Pod) -> bool:
        namespace = request.match_info.get("namespace", "")
        fields = dict(part.partition("=")[::2] for part in request.query.get("fieldSelector", "").split(",") if part)
        named = fields.get("metadata.name", fields.get("metadata.name=", ""))
        return (
            namespace in ("", pod.namespace)
            and named in ("", pod.name)
            and selects(request.query.get("labelSelector", ""), pod.labels)
        )

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") in ("true", "1"):
            return await self._watch(request)
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 0)
        found = [pod for pod in self.cluster.pods.values() if self._matches(request, pod)]
        page = found[start : start + limit] if limit else found[start:]
        items = [{k: v for k, v in pod.manifest().items() if k not in ("kind", "apiVersion")} for pod in page]
        more = str(start + limit) if limit and start + limit < len(found) else ""
        return answer(_list("PodList", items, str(self.cluster.version), more))

    def _found(self, request: web.Request) -> Pod:
        place = request.match_info["namespace"], request.match_info["name"]
        if place not in self.cluster.pods:
            raise Refusal(404, f'pods "{place[1]}" not found')
        return self.cluster.pods[place]

    async def _pod(self, request: web.Request) -> web.Response:
        return answer(self._found(request).manifest())

    async def _log(self, request: web.Request) -> web.StreamResponse:
        pod = self._found(request)
        try:
            return await LogAnswer(self.cluster, self.follows, pod, request).give()
        except ConnectionError:  # The reader went away.
            return web.Response()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        version = int(request.query.get("resourceVersion") or self.cluster.version)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if self.cluster.is_expired(version):
            gone = status(Refusal(410, f"too old resource version: {version}"))
            await response.write(orjson.dumps({"type": "ERROR", "object": gone}) + b"\n")
            return response
        ends = time.monotonic() + float(request.query.get("timeoutSeconds") or 1800)
        news = asyncio.Event()
        self.cluster.watchers.add(news)
        try:
            while time.monotonic() < ends and request.transport is not None:
                news.clear()
                for number, kind, pod, manifest in self.cluster.since(version):
                    version = number
                    if self._matches(request, pod):
                        await response.write(orjson.dumps({"type": kind, "object": manifest}) + b"\n")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.rules.bookmark_every):
                        await news.wait()
                        continue
                await response.write(_bookmark(version))
        except ConnectionError:
            pass
        finally:
            self.cluster.watchers.discard(news)
        return response


async def _done(value: Any) -> web.Response:
    return answer(value)


def _bookmark(version: int) -> bytes:
    held = {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}}
    return orjson.dumps({"type": "BOOKMARK", "object": held}) + b"\n"


def _list(kind: str, items: list[Any], version: str, more: str = "") -> dict[str, Any]:
    return {
        "kind": kind,
        "apiVersion": "v1",
        "metadata": {"resourceVersion": version, "continue": more},
        "items": items,
    }


def _resources() -> dict[str, Any]:
    verbs = ["get", "list", "watch"]
    found = [
        {"name": name, "singularName": name[:-1], "namespaced": held, "kind": kind, "verbs": verbs}
        for name, kind, held in RESOURCES
    ]
    log = {"name": "pods/log", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"]}
    return {"kind": "APIResourceList", "groupVersion": "v1", "resources": [*found, log]}
