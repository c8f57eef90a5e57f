"""What hangs below an object: binding, scale, eviction, tokens, logs. Each is a small conversation of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from . import errors, logs, patch, selectors
from . import request as asked
from .errors import Cause
from .objects import Call, DeleteOptions, timestamp
from .request import Target
from .store import Object
from .tokens import ISSUER

if TYPE_CHECKING:
    from .handlers import Handlers


async def serve(handlers: Handlers, request: web.Request, target: Target, verb: str) -> web.StreamResponse | None:
    """The answer of a subresource that is no plain read or write of its object, or None."""
    served = SERVED.get((target.resource.key, target.subresource))
    return None if served is None else await served(handlers, request, target, verb)


async def bind(handlers: Handlers, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """The scheduler's one write: the pod's node, once (pkg/registry/core/pod/storage/storage.go, assignPod)."""
    body, _ = await asked.read_body(request, "Binding")
    node = (body.get("target") or {}).get("name", "")
    call = asked.call_for(request, request[asked.IDENTITY], target, "CreateOptions")

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
    call = Call(request[asked.IDENTITY], subresource="finalize")
    finalizers = (body.get("spec") or {}).get("finalizers") or []

    def release(namespace: Object) -> Object:
        spec = dict(namespace.get("spec") or {})
        spec.pop("finalizers", None)
        namespace["spec"] = {**spec, "finalizers": finalizers} if finalizers else spec
        return namespace

    stored = handlers.objects.update(target.resource, "", target.name, release, call)
    await handlers.store.committed()
    return web.Response(body=stored.raw, content_type="application/json")


async def evict(handlers: Handlers, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """Delete unless a disruption budget says no (pkg/registry/core/pod/storage/eviction.go)."""
    body, _ = await asked.read_body(request, "Eviction")
    pod = handlers.objects.find(target.resource, target.namespace, target.name).obj
    name = (body.get("metadata") or {}).get("name") or target.name
    if name != target.name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    phase = (pod.get("status") or {}).get("phase")
    if phase not in ("Succeeded", "Failed", "Pending") and "deletionTimestamp" not in pod["metadata"]:
        _ask_budgets(handlers, target, pod)
    wished = body.get("deleteOptions") or {}
    options = DeleteOptions(wished.get("gracePeriodSeconds"), wished.get("propagationPolicy"))
    call = asked.call_for(request, request[asked.IDENTITY], target, "CreateOptions")
    if wished.get("dryRun"):
        call = Call(call.identity, dry_run=True)
    told = Call(call.identity, call.dry_run, "status")
    handlers.objects.update(target.resource, target.namespace, target.name, _mark_evicted, told)
    handlers.objects.delete(target.resource, target.namespace, target.name, options, call)
    await handlers.store.committed()
    return status(201)


def _mark_evicted(pod: Object) -> Object:
    reason = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
    at = {"lastProbeTime": None, "lastTransitionTime": timestamp()}
    status = pod.setdefault("status", {})
    others = [item for item in status.get("conditions") or () if item["type"] != "DisruptionTarget"]
    status["conditions"] = [{"type": "DisruptionTarget", "status": "True", **at, **reason}, *others]
    return pod


def _ask_budgets(handlers: Handlers, target: Target, pod: Object) -> None:
    labels = pod["metadata"].get("labels")
    budgets = [
        budget
        for budget in handlers.store.each("poddisruptionbudgets.policy", target.namespace)
        if selectors.matches(budget["spec"].get("selector"), labels)
    ]
    if len(budgets) > 1:
        raise errors.ApiError(
            500,
            None,
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )
    if budgets and (budgets[0].get("status") or {}).get("disruptionsAllowed", 0) <= 0:
        name, found = budgets[0]["metadata"]["name"], budgets[0].get("status") or {}
        wanted, healthy = found.get("desiredHealthy", 0), found.get("currentHealthy", 0)
        needs = f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"
        details = {"causes": [{"reason": "DisruptionBudget", "message": needs}]}
        why = "Cannot evict pod as it would violate the pod's disruption budget."
        raise errors.ApiError(429, "TooManyRequests", why, details)


async def scale(handlers: Handlers, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    resource = target.resource
    stored = handlers.objects.find(resource, target.namespace, target.name)
    if verb != "get":
        call = asked.call_for(request, request[asked.IDENTITY], target, "UpdateOptions")
        kind = asked.PATCH_TYPES.get(request.content_type)
        if verb == "patch" and kind not in ("merge", "strategic", "json"):
            raise errors.ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        raw = await request.read()
        body = None if verb == "patch" else (await asked.read_body(request, "Scale"))[0]

        def change(obj: Object) -> Object:
            current = _scale_of(resource.key, obj)
            wanted = body if body is not None else _patched(current, raw, kind or "")
            replicas = (wanted.get("spec") or {}).get("replicas", 0)
            if replicas < 0:
                cause = Cause.invalid("spec.replicas", str(replicas), "must be greater than or equal to 0")
                raise errors.invalid("Scale", "autoscaling", target.name, [cause])
            version = (wanted.get("metadata") or {}).get("resourceVersion")
            if version:
                obj["metadata"]["resourceVersion"] = version
            obj["spec"]["replicas"] = replicas
            return obj

        stored = handlers.objects.update(resource, target.namespace, target.name, change, call)
        await handlers.store.committed()
    return web.Response(body=orjson.dumps(_scale_of(resource.key, stored.obj)), content_type="application/json")


def _patched(current: Object, raw: bytes, kind: str) -> Object:
    change = orjson.loads(raw)
    result: Object = patch.json_patch(current, change) if kind == "json" else patch.merge(current, change)
    return result


def _scale_of(key: str, obj: Object) -> Object:
    metadata = {
        k: v
        for k, v in obj["metadata"].items()
        if k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    }
    wanted = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    status = {"replicas": (obj.get("status") or {}).get("replicas", 0)}
    status["selector"] = ",".join(f"{k}={v}" for k, v in sorted(wanted.items()))
    spec = {"replicas": obj["spec"]["replicas"]} if obj["spec"].get("replicas") else {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


async def token(handlers: Handlers, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    body, _ = await asked.read_body(request, "TokenRequest")
    account = handlers.objects.find(target.resource, target.namespace, target.name).obj
    spec = body.get("spec") or {}
    seconds = spec.get("expirationSeconds") or 3600
    if seconds < 600:
        why = "may not specify a duration less than 10 minutes"
        cause = Cause.invalid("spec.expirationSeconds", str(seconds), why)
        raise errors.invalid("TokenRequest", "authentication.k8s.io", "", [cause])
    audiences, bound = spec.get("audiences") or [ISSUER], spec.get("boundObjectRef")
    issued = handlers.tokens.issue(account, seconds, audiences, bound)
    metadata = {k: account["metadata"][k] for k in ("name", "namespace", "uid")}
    answer = {
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {**metadata, "creationTimestamp": timestamp()},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound},
        "status": {"token": issued, "expirationTimestamp": timestamp(datetime.now(UTC) + timedelta(seconds=seconds))},
    }  # fmt: skip
    return web.Response(body=orjson.dumps(answer), status=201, content_type="application/json")


async def absent(handlers: Handlers, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    raise errors.not_implemented(f"pods/{target.subresource}")


def status(code: int) -> web.Response:
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": code,
    }
    return web.Response(body=orjson.dumps(body), status=code, content_type="application/json")


SERVED = {
    ("pods", "binding"): bind,
    ("pods", "eviction"): evict,
    ("pods", "log"): logs.serve,
    ("pods", "exec"): absent,
    ("pods", "attach"): absent,
    ("pods", "portforward"): absent,
    ("pods", "proxy"): absent,
    ("namespaces", "finalize"): finalize,
    ("serviceaccounts", "token"): token,
    ("deployments.apps", "scale"): scale,
    ("replicasets.apps", "scale"): scale,
}
