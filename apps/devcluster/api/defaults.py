"""What the server fills in. Flat defaults are tables; the rest are small functions, one per kind.

Sources: pkg/apis/*/v1/defaults.go and pkg/registry/*/strategy.go of Kubernetes.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from apps.devcluster import quantities

from . import definitions, structural
from .registry import Resource
from .store import Object, Store

POD_SPEC = {
    "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
}  # fmt: skip
CONTAINER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
JOB = {"completionMode": "NonIndexed", "suspend": False, "manualSelector": False}
SPEC_DEFAULTS: dict[str, dict[str, Any]] = {
    "replicasets.apps": {"replicas": 1},
    "deployments.apps": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
    "persistentvolumeclaims": {"volumeMode": "Filesystem"},
    "persistentvolumes": {"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"},
    "cronjobs.batch": {
        "concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
    },
    "services": {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"},
}  # fmt: skip
TOP_DEFAULTS: dict[str, dict[str, Any]] = {
    "priorityclasses.scheduling.k8s.io": {"value": 0, "preemptionPolicy": "PreemptLowerPriority"},
    "storageclasses.storage.k8s.io": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    "secrets": {"type": "Opaque"},
}
FIRST_STATUS: dict[str, Any] = {
    "namespaces": {"phase": "Active"},
    "services": {"loadBalancer": {}},
    "persistentvolumeclaims": {"phase": "Pending"},
    "persistentvolumes": {"phase": "Pending"},
    "poddisruptionbudgets.policy": {
        "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
    },
}  # fmt: skip
GATED = {
    "type": "PodScheduled", "status": "False", "lastProbeTime": None, "lastTransitionTime": None,
    "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
}  # fmt: skip
PROTECTED = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}
UID_LABEL, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
# Addresses of the loopback network: a process on this machine can reach a Service there without routes or root.
SERVICE_NETWORK = "127.96"


def fill(resource: Resource, obj: Object) -> None:
    """Defaults a client may leave out; applied to every object that is written."""
    _put(obj, TOP_DEFAULTS.get(resource.key, {}))
    if resource.key in SPEC_DEFAULTS:
        _put(obj.setdefault("spec", {}), SPEC_DEFAULTS[resource.key])
    if resource.custom:
        structural.fill(resource.custom.schema, obj)
    special = SPECIAL.get(resource.key)
    if special is not None:
        special(obj)


def begin(store: Store, resource: Resource, obj: Object) -> None:
    """What only creation sets: first status, finalizers, addresses."""
    if resource.key == "nodes":
        obj.setdefault("status", {})  # a kubelet registers its node together with the status
    elif resource.key == definitions.KEY:
        definitions.begin(obj)
    elif resource.custom and resource.has_status:
        obj.pop("status", None)
    elif resource.has_status:
        obj["status"] = dict(FIRST_STATUS.get(resource.key, {}))
    if resource.key in PROTECTED:
        finalizers = obj["metadata"].setdefault("finalizers", [])
        if PROTECTED[resource.key] not in finalizers:
            finalizers.append(PROTECTED[resource.key])
    if resource.key == "namespaces":
        _namespace(obj)
    elif resource.key == "jobs.batch":
        _job_identity(obj)
    elif resource.key == "services":
        _addresses(store, obj)


def finish(resource: Resource, obj: Object) -> None:
    """What depends on the result of admission."""
    if resource.key == "pods":
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj["spec"])}
        if obj["spec"].get("schedulingGates"):
            obj["status"]["conditions"] = [dict(GATED)]


def keep(resource: Resource, obj: Object, old: Object) -> None:
    """What an update may leave out because the server had chosen it."""
    if resource.key == "services":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if name in old["spec"] and not obj["spec"].get(name):
                obj["spec"][name] = old["spec"][name]
    elif resource.key == "namespaces":
        obj["spec"] = old["spec"]  # Nothing but its finalizers, which only `finalize` may change.
    elif resource.key == "jobs.batch":
        obj.setdefault("spec", {})
        _job_identity(obj)


def _put(target: Object, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _namespace(obj: Object) -> None:
    obj.setdefault("spec", {})["finalizers"] = ["kubernetes"]


def _label_with_name(obj: Object) -> None:
    metadata = obj["metadata"]
    metadata["labels"] = {
        **(metadata.get("labels") or {}),
        "kubernetes.io/metadata.name": metadata.get("name", ""),
    }


def _secret(obj: Object) -> None:
    for key, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()


# Pods


def containers(spec: Object) -> Iterator[Object]:
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def pod_spec(spec: Object) -> None:
    _put(spec, POD_SPEC)
    spec.setdefault("securityContext", {})
    if spec.get("serviceAccount") and not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    for container in containers(spec):
        _container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)


def _container(container: Object) -> None:
    _put(container, CONTAINER)
    container.setdefault("resources", {})
    if container.get("image") and not container.get("imagePullPolicy"):
        name = container["image"].rpartition("/")[2]
        moving = "@" not in name and (":" not in name or name.endswith(":latest"))
        container["imagePullPolicy"] = "Always" if moving else "IfNotPresent"
    for port in container.get("ports") or ():
        _put(port, {"protocol": "TCP"})
    for variable in container.get("env") or ():
        _field_ref(variable.get("valueFrom") or {})
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name):
            _put(container[name], PROBE)
            if container[name].get("httpGet"):
                _put(container[name]["httpGet"], {"path": "/", "scheme": "HTTP"})


def _field_ref(source: Object) -> None:
    if source.get("fieldRef"):
        _put(source["fieldRef"], {"apiVersion": "v1"})
    if source.get("resourceFieldRef"):
        _put(source["resourceFieldRef"], {"divisor": "0"})


def _volume(volume: Object) -> None:
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        if volume.get(kind) is not None:
            _put(volume[kind], {"defaultMode": 420})
    sources = (volume.get("projected") or {}).get("sources") or []
    for source in (volume, *sources):
        if source.get("serviceAccountToken"):
            _put(source["serviceAccountToken"], {"expirationSeconds": 3600})
        for item in (source.get("downwardAPI") or {}).get("items") or ():
            _field_ref(item)
    if volume.get("hostPath") is not None:
        _put(volume["hostPath"], {"type": ""})


def _pod(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    _put(spec, {"enableServiceLinks": True})
    for container in containers(spec):
        limits = container["resources"].get("limits")
        if limits:
            _put(container["resources"].setdefault("requests", {}), limits)


def qos_class(spec: Object) -> str:
    guaranteed, any_set = True, False
    for container in containers(spec):
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            limit, request = limits.get(name), requests.get(name, limits.get(name))
            any_set |= any(quantities.parse(value) > 0 for value in (limit, request) if value)
            guaranteed &= limit is not None and quantities.parse(limit) == quantities.parse(request or limit)
    return "BestEffort" if not any_set else "Guaranteed" if guaranteed else "Burstable"


# Workloads


def _template(spec: Object) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    pod_spec(template.setdefault("spec", {}))


def _job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    _put(spec, {"parallelism": 1, **JOB})
    _put(spec, {"backoffLimit": 6 if spec.get("backoffLimitPerIndex") is None else 2147483647})
    failed = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    _put(spec, {"podReplacementPolicy": failed})
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for condition in rule.get("onPodConditions") or ():
            _put(condition, {"status": "True"})
    _template(spec)
    _template_labels(obj)


def _job_identity(obj: Object) -> None:
    """The labels by which a Job knows its pods; chosen by the server, so nobody's field."""
    spec, uid = obj["spec"], obj["metadata"]["uid"]
    if not spec.get("manualSelector"):
        own = {UID_LABEL: uid, NAME_LABEL: obj["metadata"].get("name", ""), "controller-uid": uid}
        own["job-name"] = own[NAME_LABEL]
        metadata = spec.setdefault("template", {}).setdefault("metadata", {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **own}
        selector = spec.setdefault("selector", {})
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), UID_LABEL: uid}
    _template_labels(obj)


def _template_labels(obj: Object) -> None:
    labels = ((obj["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def _deployment(obj: Object) -> None:
    _template(obj["spec"])
    strategy = obj["spec"].setdefault("strategy", {})
    _put(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        _put(rolling, {"maxUnavailable": "25%", "maxSurge": "25%"})


def _cron_job(obj: Object) -> None:
    job = obj["spec"].setdefault("jobTemplate", {}).setdefault("spec", {})
    _template(job)


def _service(obj: Object) -> None:
    spec = obj["spec"]
    for port in spec.get("ports") or ():
        _put(port, {"protocol": "TCP"})
        _put(port, {"targetPort": port.get("port")})
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _put(spec, {"externalTrafficPolicy": "Cluster"})
    if spec["type"] == "ExternalName":
        spec.pop("internalTrafficPolicy", None)


def _addresses(store: Store, obj: Object) -> None:
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        return
    if not spec.get("clusterIP"):
        taken = {other.get("spec", {}).get("clusterIP") for other in store.each("services")}
        spec["clusterIP"] = _free_address(obj["metadata"]["uid"], taken)
    spec["clusterIPs"] = [spec["clusterIP"]]
    _put(spec, {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})
    if spec["type"] in ("NodePort", "LoadBalancer"):
        used = {p.get("nodePort") for o in store.each("services") for p in o.get("spec", {}).get("ports") or ()}
        first = zlib.crc32(
            obj["metadata"]["uid"].encode()
        )  # Several clusters share the host's ports: not all from 30000.
        for port in spec.get("ports") or ():
            wanted = (30000 + (first + step) % 2768 for step in range(2768))
            _put(port, {"nodePort": next(number for number in wanted if number not in used)})
            used.add(port["nodePort"])


def _free_address(uid: str, taken: set[Any]) -> str:
    first = zlib.crc32(uid.encode())
    for step in range(65000):
        at = (first + step) % 65000 + 256
        address = f"{SERVICE_NETWORK}.{at >> 8}.{at & 255}"
        if address not in taken:
            return address
    raise RuntimeError("the service network is full")


def _limit_range(obj: Object) -> None:
    for item in (obj.get("spec") or {}).get("limits") or ():
        for part, source in (("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")):
            if item.get("type") == "Container" and item.get(source):
                _put(item.setdefault(part, {}), item[source])


def _binding(obj: Object) -> None:
    group = "rbac.authorization.k8s.io"
    if obj.get("roleRef"):
        _put(obj["roleRef"], {"apiGroup": group})
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _put(subject, {"apiGroup": group})


def _network_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    _put(spec, {"policyTypes": ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]})


def _slice(obj: Object) -> None:
    """Go writes both lists even where they are empty: as null."""
    obj["endpoints"], obj["ports"] = obj.get("endpoints") or None, obj.get("ports") or None


SPECIAL: dict[str, Callable[[Object], None]] = {
    definitions.KEY: definitions.fill,
    "events": lambda obj: obj.setdefault("eventTime", None),  # Go writes this time even where there is none.
    "namespaces": _label_with_name,
    "pods": _pod,
    "secrets": _secret,
    "endpointslices.discovery.k8s.io": _slice,
    "jobs.batch": _job,
    "cronjobs.batch": _cron_job,
    "deployments.apps": _deployment,
    "replicasets.apps": lambda obj: _template(obj["spec"]),
    "services": _service,
    "limitranges": _limit_range,
    "rolebindings.rbac.authorization.k8s.io": _binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _binding,
    "networkpolicies.networking.k8s.io": _network_policy,
}
