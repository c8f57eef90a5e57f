"""What hangs below an object: binding, scale, eviction, tokens, logs. Each is a small conversation of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiohttp import web

from . import errors, logs, patch, ports, selectors, service_proxy, streams
from . import request as asked
from .call import Call, DeleteOptions
from .clock import timestamp
from .context import Api
from .errors import Cause
from .present import json_answer
from .registry import Resource
from .request import Target
from .store import Object
from .tokens import ISSUER


async def serve(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse | None:
    """The answer of a subresource that is no plain read or write of its object, or None."""
    served = SERVED.get((target.resource.key, target.subresource))
    if target.resource.custom and target.subresource == "scale":
        served = scale
    return None if served is None else await served(api, request, target, verb)


async def bind(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
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
        scheduled = _condition("PodScheduled")
        pod["status"]["conditions"] = [*(c for c in conditions if c["type"] != "PodScheduled"), scheduled]
        pod["status"].pop("nominatedNodeName", None)
        return pod

    api.objects.update(target.resource, target.namespace, target.name, assign, call)
    await api.store.committed()
    return _done()


def _condition(kind: str) -> Object:
    return {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": timestamp()}


async def finalize(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """Only here may a namespace lose its `kubernetes` finalizer."""
    body, _ = await asked.read_body(request, "Namespace")
    call = Call(request[asked.IDENTITY], subresource="finalize")
    finalizers = (body.get("spec") or {}).get("finalizers") or []

    def release(namespace: Object) -> Object:
        spec = dict(namespace.get("spec") or {})
        spec.pop("finalizers", None)
        namespace["spec"] = {**spec, "finalizers": finalizers} if finalizers else spec
        return namespace

    stored = api.objects.update(target.resource, "", target.name, release, call)
    await api.store.committed()
    return web.Response(body=stored.raw, content_type="application/json")


async def evict(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """Delete unless a disruption budget says no (pkg/registry/core/pod/storage/eviction.go)."""
    body, _ = await asked.read_body(request, "Eviction")
    pod = api.objects.find(target.resource, target.namespace, target.name).obj
    name = (body.get("metadata") or {}).get("name") or target.name
    if name != target.name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    phase, budget = (pod.get("status") or {}).get("phase"), None
    if phase not in ("Succeeded", "Failed", "Pending") and "deletionTimestamp" not in pod["metadata"]:
        budget = _ask_budgets(api, target, pod)
    wished = body.get("deleteOptions") or {}
    options = DeleteOptions(wished.get("gracePeriodSeconds"), wished.get("propagationPolicy"))
    call = asked.call_for(request, request[asked.IDENTITY], target, "CreateOptions")
    if wished.get("dryRun"):
        call = Call(call.identity, dry_run=True)
    told = Call(call.identity, call.dry_run, "status")
    if budget:
        budgets = api.registry.find("policy", "v1", "poddisruptionbudgets")
        api.objects.update(budgets, target.namespace, budget, lambda found: _spend(found, target.name), told)
    api.objects.update(target.resource, target.namespace, target.name, _mark_evicted, told)
    api.objects.delete(target.resource, target.namespace, target.name, options, call)
    await api.store.committed()
    return _done()


def _mark_evicted(pod: Object) -> Object:
    reason = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
    status = pod.setdefault("status", {})
    others = [item for item in status.get("conditions") or () if item["type"] != "DisruptionTarget"]
    status["conditions"] = [_condition("DisruptionTarget") | reason, *others]
    return pod


def _spend(budget: Object, pod: str) -> Object:
    """One disruption fewer at once: the controller counts again only when it sees the pod leave."""
    found = budget["status"]
    found["disruptionsAllowed"] -= 1
    found["disruptedPods"] = (found.get("disruptedPods") or {}) | {pod: timestamp()}
    return budget


def _ask_budgets(api: Api, target: Target, pod: Object) -> str | None:
    """The budget that has to pay for the eviction, if there is one; refused where it cannot."""
    labels = pod["metadata"].get("labels")
    budgets = [
        budget
        for budget in api.store.each("poddisruptionbudgets.policy", target.namespace)
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
    return budgets[0]["metadata"]["name"] if budgets else None


async def scale(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    resource = target.resource
    stored = api.objects.find(resource, target.namespace, target.name)
    if verb != "get":
        call = asked.call_for(request, request[asked.IDENTITY], target, "UpdateOptions")
        kind = asked.PATCH_TYPES.get(request.content_type)
        if verb == "patch" and kind not in ("merge", "strategic", "json"):
            raise errors.ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        raw = await request.read()
        body = None if verb == "patch" else (await asked.read_body(request, "Scale"))[0]

        def change(obj: Object) -> Object:
            current = _scale_of(resource, obj)
            wanted = body if body is not None else _patched(current, raw, kind or "")
            replicas = (wanted.get("spec") or {}).get("replicas", 0)
            if replicas < 0:
                cause = Cause.invalid("spec.replicas", str(replicas), "must be greater than or equal to 0")
                raise errors.invalid("Scale", "autoscaling", target.name, [cause])
            version = (wanted.get("metadata") or {}).get("resourceVersion")
            if version:
                obj["metadata"]["resourceVersion"] = version
            *parents, last = _scale_path(resource, "specReplicasPath")
            place = obj
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = replicas
            return obj

        stored = api.objects.update(resource, target.namespace, target.name, change, call)
        await api.store.committed()
    return json_answer(_scale_of(resource, stored.obj))


def _patched(current: Object, raw: bytes, kind: str) -> Object:
    change = orjson.loads(raw)
    result: Object = patch.json_patch(current, change) if kind == "json" else patch.merge(current, change)
    return result


SCALE_PATHS = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}


def _scale_path(resource: Resource, name: str) -> list[str]:
    """Where the number stands: a custom resource's definition says so."""
    paths = resource.custom.scale if resource.custom else SCALE_PATHS
    return paths.get(name, "").split(".")[1:]


def _at(obj: Object, path: list[str]) -> Any:
    found: Any = obj
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _selector_of(resource: Resource, obj: Object) -> str:
    if resource.custom:
        path = _scale_path(resource, "labelSelectorPath")
        return str(_at(obj, path) or "") if path else ""
    wanted = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{k}={v}" for k, v in sorted(wanted.items()))


def _scale_of(resource: Resource, obj: Object) -> Object:
    metadata = {
        k: v
        for k, v in obj["metadata"].items()
        if k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    }
    replicas = _at(obj, _scale_path(resource, "specReplicasPath"))
    status = {"replicas": _at(obj, _scale_path(resource, "statusReplicasPath")) or 0}
    if selector := _selector_of(resource, obj):
        status["selector"] = selector
    spec = {"replicas": replicas} if replicas else {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


async def token(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    body, _ = await asked.read_body(request, "TokenRequest")
    account = api.objects.find(target.resource, target.namespace, target.name).obj
    spec = body.get("spec") or {}
    seconds = spec.get("expirationSeconds") or 3600
    if seconds < 600:
        why = "may not specify a duration less than 10 minutes"
        cause = Cause.invalid("spec.expirationSeconds", str(seconds), why)
        raise errors.invalid("TokenRequest", "authentication.k8s.io", "", [cause])
    audiences, bound = spec.get("audiences") or [ISSUER], spec.get("boundObjectRef")
    issued = api.tokens.issue(account, seconds, audiences, bound)
    metadata = {k: account["metadata"][k] for k in ("name", "namespace", "uid")}
    answer = {
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {**metadata, "creationTimestamp": timestamp()},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound},
        "status": {"token": issued, "expirationTimestamp": timestamp(datetime.now(UTC) + timedelta(seconds=seconds))},
    }  # fmt: skip
    return json_answer(answer, 201)


async def node_proxy(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """Of a kubelet's own paths only the measurements are here."""
    api.objects.find(target.resource, "", target.name)
    if api.node is None or not request.path.endswith("/proxy/stats/summary") or verb != "get":
        raise errors.not_implemented("a kubelet's paths but /stats/summary")
    return json_answer(api.node.summary(target.name))


def _done() -> web.Response:
    return json_answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)


SERVED = {
    ("pods", "binding"): bind,
    ("pods", "eviction"): evict,
    ("pods", "log"): logs.serve,
    ("pods", "exec"): streams.serve,
    ("pods", "attach"): streams.serve,
    ("pods", "portforward"): ports.serve,
    ("pods", "proxy"): streams.proxy,
    ("services", "proxy"): service_proxy.serve,
    ("nodes", "proxy"): node_proxy,
    ("namespaces", "finalize"): finalize,
    ("serviceaccounts", "token"): token,
    ("deployments.apps", "scale"): scale,
    ("replicasets.apps", "scale"): scale,
}
