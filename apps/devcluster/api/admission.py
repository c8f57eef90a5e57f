"""Admission: what policy adds to an object and what it refuses. The plug-ins an API server runs by default, in order.

Sources: plugin/pkg/admission/{namespace/lifecycle,serviceaccount,limitranger,priority,defaulttolerationseconds}.
"""

from __future__ import annotations

import secrets
from typing import Any

from apps.devcluster import quantities

from . import errors, podsecurity, quota
from .call import Call
from .defaults import containers
from .registry import Resource
from .store import Object, Store

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  a folder
PROTECTED_NAMESPACES = ("default", "kube-system", "kube-public")


def admit(store: Store, resource: Resource, namespace: str, obj: Object, old: Object | None, call: Call) -> None:
    """Mutating plug-ins: may change the object, may refuse."""
    if old is None and namespace:
        _namespace_lives(store, resource, namespace, obj)
    if resource.key == "pods" and old is None:
        name = obj["metadata"].get("name", "")
        _service_account(store, namespace, name, obj)
        _tolerations(obj["spec"])
        _priority(store, name, obj["spec"])
        _limit_ranges(store, namespace, obj)


def check(store: Store, resource: Resource, namespace: str, obj: Object, old: Object | None, call: Call) -> None:
    """Validating plug-ins: look at the final object."""
    if resource.key == "pods" and old is None:
        for limit_range in store.each("limitranges", namespace):
            _within(limit_range, obj)
        found = store.get("namespaces", "", namespace)
        podsecurity.enforce(found.obj if found else {}, obj)
    if old is None and namespace:
        quota.check(store, resource, namespace, obj)


def _namespace_lives(store: Store, resource: Resource, namespace: str, obj: Object) -> None:
    found = store.get("namespaces", "", namespace)
    if found is None:
        raise errors.not_found("namespaces", "", namespace)
    if "deletionTimestamp" in found.obj["metadata"]:
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        error = errors.forbidden(resource.plural, resource.group, obj["metadata"].get("name", ""), why)
        text = f"namespace {namespace} is being terminated"
        error.details = (error.details or {}) | {
            "causes": [{"reason": "NamespaceTerminating", "message": text, "field": "metadata.namespace"}]
        }
        raise error


def _refuse(name: str, why: str) -> errors.ApiError:
    return errors.forbidden("pods", "", name, why)


# Pods


def _service_account(store: Store, namespace: str, name: str, pod: Object) -> None:
    spec = pod["spec"]
    account = spec.get("serviceAccountName") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    found = store.get("serviceaccounts", namespace, account)
    if found is None:
        why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
        raise _refuse(name, why)
    if not spec.get("imagePullSecrets") and found.obj.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(ref) for ref in found.obj["imagePullSecrets"]]
    wanted = spec.get("automountServiceAccountToken", found.obj.get("automountServiceAccountToken", True))
    if wanted and spec.get("containers"):
        _mount_token(spec)


def _mount_token(spec: Object) -> None:
    def mounted(container: Object) -> bool:
        return any(m.get("mountPath") == TOKEN_PATH for m in container.get("volumeMounts") or ())

    without = [container for container in containers(spec) if not mounted(container)]
    if not without:
        return
    volume = "kube-api-access-" + "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    projected = {"name": volume, "projected": {"sources": sources, "defaultMode": 420}}
    spec["volumes"] = [*(spec.get("volumes") or []), projected]
    for container in without:
        mount = {"name": volume, "readOnly": True, "mountPath": TOKEN_PATH}
        container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]


def _tolerations(spec: Object) -> None:
    present = spec.get("tolerations") or []
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(t.get("key") in (key, None) and t.get("effect") in ("NoExecute", None) for t in present):
            toleration = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            present = [*present, toleration]
    spec["tolerations"] = present


def _priority(store: Store, name: str, spec: Object) -> None:
    key, wanted = "priorityclasses.scheduling.k8s.io", spec.get("priorityClassName")
    if wanted:
        stored = store.get(key, "", wanted)
        if stored is None:
            raise _refuse(name, f"no PriorityClass with name {wanted} was found")
        found: Object | None = stored.obj
    else:
        found = max((c for c in store.each(key) if c.get("globalDefault")), key=lambda c: c["value"], default=None)
        if found is not None:
            spec["priorityClassName"] = found["metadata"]["name"]
    value = found["value"] if found else 0
    if spec.get("priority") not in (None, value):
        why = (
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority admission "
            f"controller computed {value} from the given PriorityClass name"
        )
        raise _refuse(name, why)
    spec["priority"] = value
    spec.setdefault("preemptionPolicy", (found or {}).get("preemptionPolicy", "PreemptLowerPriority"))


# LimitRange


def _limit_ranges(store: Store, namespace: str, pod: Object) -> None:
    notes: list[str] = []
    for limit_range in store.each("limitranges", namespace):
        for item in limit_range["spec"].get("limits") or ():
            if item.get("type") == "Container":
                notes += _container_defaults(item, pod["spec"])
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations["kubernetes.io/limit-ranger"] = "LimitRanger plugin set: " + "; ".join(notes)


def _container_defaults(item: Object, spec: Object) -> list[str]:
    notes = []
    for container in containers(spec):
        resources = container.setdefault("resources", {})
        for part, source, word in (("requests", "defaultRequest", "request"), ("limits", "default", "limit")):
            missing = {k: v for k, v in (item.get(source) or {}).items() if k not in (resources.get(part) or {})}
            if missing:
                resources[part] = {**(resources.get(part) or {}), **missing}
                notes.append(f"{', '.join(sorted(missing))} {word} for container {container.get('name')}")
    return notes


def _within(limit_range: Object, pod: Object) -> None:
    """Bounds per container; per pod on the sums."""
    causes: list[str] = []
    for item in limit_range["spec"].get("limits") or ():
        if item.get("type") == "Container":
            for container in containers(pod["spec"]):
                causes += _bounds(item, container.get("resources") or {}, "Container")
        elif item.get("type") == "Pod":
            causes += _bounds(item, _pod_sums(pod["spec"]), "Pod")
    if causes:
        listed = causes[0] if len(causes) == 1 else "[" + ", ".join(causes) + "]"
        raise _refuse(pod["metadata"].get("name", ""), listed)


def _pod_sums(spec: Object) -> Object:
    sums: dict[str, dict[str, str]] = {}
    for part in ("requests", "limits"):
        for name, value in quota.pod_resources(spec, part).items():
            sums.setdefault(part, {})[name] = quantities.spell(value, binary=name == "memory")
    return sums


def _bounds(item: Object, resources: Object, kind: str) -> list[str]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    causes = []
    for name, least in (item.get("min") or {}).items():
        request = requests.get(name)
        if request is None:
            causes.append(f"minimum {name} usage per {kind} is {least}.  No request is specified")
        elif quantities.parse(request) < quantities.parse(least):
            causes.append(f"minimum {name} usage per {kind} is {least}, but request is {request}")
    for name, most in (item.get("max") or {}).items():
        limit = limits.get(name)
        if limit is None:
            causes.append(f"maximum {name} usage per {kind} is {most}.  No limit is specified")
        elif quantities.parse(limit) > quantities.parse(most):
            causes.append(f"maximum {name} usage per {kind} is {most}, but limit is {limit}")
    return causes


def protect_namespace(name: str) -> None:
    """The namespaces everything stands on cannot be deleted."""
    if name in PROTECTED_NAMESPACES:
        raise errors.forbidden("namespaces", "", name, "this namespace may not be deleted")


__all__: list[Any] = ["admit", "check", "protect_namespace"]
