"""What hangs below an object: binding, scale, eviction, tokens, logs. Each is a small conversation of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from . import errors
from . import request as asked
from .objects import Call, timestamp
from .request import Target
from .store import Object

if TYPE_CHECKING:
    from .handlers import Handlers


async def serve(
    handlers: Handlers, request: web.Request, target: Target, verb: str
) -> web.StreamResponse | None:
    """The answer of a subresource that is no plain read or write of its object, or None."""
    served = SERVED.get((target.resource.key, target.subresource))
    return None if served is None else await served(handlers, request, target, verb)


async def bind(handlers: Handlers, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """The scheduler's one write: the pod's node, once (pkg/registry/core/pod/storage/storage.go, assignPod)."""
    body, _ = await asked.read_body(request, "Binding")
    node = (body.get("target") or {}).get("name", "")
    call = asked.call_for(request, request["identity"], target, "CreateOptions")

    def assign(pod: Object) -> Object:
        if "deletionTimestamp" in pod["metadata"]:
            why = f"pod {target.name} is being deleted, cannot be assigned to a host"
            raise errors.conflict("pods/binding", "", target.name, why)
        if pod["spec"].get("nodeName"):
            why = f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise errors.conflict("pods/binding", "", target.name, why)
        pod["spec"]["nodeName"] = node
        conditions = pod.setdefault("status", {}).setdefault("conditions", [])
        scheduled = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(),
        }
        pod["status"]["conditions"] = [*(c for c in conditions if c["type"] != "PodScheduled"), scheduled]
        return pod

    handlers.objects.update(target.resource, target.namespace, target.name, assign, call)
    await handlers.store.committed()
    return status(201)


async def finalize(handlers: Handlers, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """Only here may a namespace lose its `kubernetes` finalizer."""
    body, _ = await asked.read_body(request, "Namespace")
    call = Call(request["identity"], subresource="finalize")
    finalizers = (body.get("spec") or {}).get("finalizers") or []

    def release(namespace: Object) -> Object:
        spec = dict(namespace.get("spec") or {})
        spec.pop("finalizers", None)
        namespace["spec"] = {**spec, "finalizers": finalizers} if finalizers else spec
        return namespace

    stored = handlers.objects.update(target.resource, "", target.name, release, call)
    await handlers.store.committed()
    return web.Response(body=stored.raw, content_type="application/json")


def status(code: int) -> web.Response:
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": code,
    }
    return web.Response(body=orjson.dumps(body), status=code, content_type="application/json")


SERVED = {("pods", "binding"): bind, ("namespaces", "finalize"): finalize}
