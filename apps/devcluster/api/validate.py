"""Is the object well formed? The field errors of pkg/apis/*/validation, in their words, as far as they are recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from apps.devcluster import quantities

from . import definitions, selectors, structural, validate_update
from .errors import Cause, shown
from .registry import Resource
from .store import Object

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = f"{LABEL}(\\.{LABEL})*"
QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
VALUE = f"({QUALIFIED})?"
LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
)
SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
)
QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{QUALIFIED}')"
)
VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{VALUE}')"
)
KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
ENV_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"
POD_FIELD = (
    r"metadata\.(name|namespace|uid|(labels|annotations)(\['[^']+'\])?)|spec\.(nodeName|serviceAccountName)"
    r"|status\.(hostIP|podIP)s?"
)
ANY_NAME = ("roles", "rolebindings", "clusterroles", "clusterrolebindings")  # path segments: RBAC allows colons
PULL, RESTART = ["Always", "IfNotPresent", "Never"], ["Always", "OnFailure", "Never"]
NATIVE = ("cpu", "memory", "ephemeral-storage", "storage")
NEGATIVE = "must be greater than or equal to 0"
MAX_PRIORITY = 1_000_000_000


def on_create(resource: Resource, obj: Object) -> list[Cause]:
    causes = [*_metadata(resource, obj["metadata"])]
    if resource.key == "jobs.batch":  # its generated labels repeat the name; the template's complaint says it better
        causes = [cause for cause in causes if cause.field != "metadata.labels"]
    if resource.custom:
        return [*causes, *structural.complaints(resource.custom.schema, obj)]
    check = CHECKS.get(resource.key)
    return [*causes, *check(obj)] if check else causes


def on_update(resource: Resource, obj: Object, old: Object, subresource: str) -> list[Cause]:
    causes = [*_metadata(resource, obj["metadata"], named=False)]
    causes += validate_update.metadata(obj["metadata"], old["metadata"])
    if resource.custom:
        return [*causes, *structural.complaints(resource.custom.schema, obj)]
    if subresource not in ("status", "binding", "finalize"):
        check = CHECKS.get(resource.key)
        if check and resource.key != "pods":
            causes += check(obj)
        causes += validate_update.immutable(resource.key, obj, old)
    return causes


def _at_least(spec: Object, names: Iterable[str], path: str = "spec") -> Iterable[Cause]:
    for name in names:
        if (spec.get(name) or 0) < 0:
            yield Cause.invalid(f"{path}.{name}", shown(spec[name]), NEGATIVE)


def _port(port: Object, path: str, name: str) -> Iterable[Cause]:
    if not 1 <= port.get(name, 0) <= 65535:
        yield Cause.invalid(f"{path}.{name}", shown(port.get(name, 0)), "must be between 1 and 65535, inclusive")


def _unmatched(labels: Object) -> Cause:
    why = "`selector` does not match template `labels`"
    return Cause.invalid("spec.template.metadata.labels", shown(labels), why)


# Metadata


def _metadata(resource: Resource, metadata: Object, *, named: bool = True) -> Iterable[Cause]:
    name = metadata.get("name") or ""
    if not name:
        yield Cause.required("metadata.name", "name or generateName is required")
    elif named:
        yield from _name(resource, name)
    yield from labels("metadata.labels", metadata.get("labels"))
    for key in metadata.get("annotations") or {}:
        yield from _qualified("metadata.annotations", key)
    yield from _owners(metadata.get("ownerReferences") or [])
    for i, finalizer in enumerate(metadata.get("finalizers") or ()):
        if "/" not in finalizer and finalizer not in ("orphan", "foregroundDeletion", "kubernetes"):
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield Cause.invalid(f"metadata.finalizers[{i}]", shown(finalizer), why)


def _name(resource: Resource, name: str) -> Iterable[Cause]:
    if resource.plural in ANY_NAME:
        return
    pattern, text, limit = SUBDOMAIN, SUBDOMAIN_TEXT, 253
    if resource.key == "namespaces" or resource.key == "services":
        pattern, text, limit = LABEL, LABEL_TEXT, 63
    if len(name) > limit:
        yield Cause.invalid("metadata.name", shown(name), f"must be no more than {limit} characters")
    if not re.fullmatch(pattern, name):
        yield Cause.invalid("metadata.name", shown(name), text)


def labels(field: str, found: dict[str, str] | None) -> Iterable[Cause]:
    for key, value in (found or {}).items():
        yield from _qualified(field, key)
        if len(value) > 63:
            yield Cause.invalid(field, shown(value), "must be no more than 63 bytes")
        if not re.fullmatch(VALUE, value):
            yield Cause.invalid(field, shown(value), VALUE_TEXT)


def _qualified(field: str, key: str) -> Iterable[Cause]:
    prefix, slash, name = key.rpartition("/")
    if slash and not re.fullmatch(SUBDOMAIN, prefix.lower()):
        yield Cause.invalid(field, shown(key), f"prefix part {SUBDOMAIN_TEXT}")
    if not name:
        yield Cause.invalid(field, shown(key), "name part must be non-empty")
    elif len(name) > 63:
        yield Cause.invalid(field, shown(key), "name part must be no more than 63 bytes")
    elif not re.fullmatch(QUALIFIED, name):
        yield Cause.invalid(field, shown(key), QUALIFIED_TEXT)


def _owners(owners: list[Object]) -> Iterable[Cause]:
    for owner in owners:
        for part in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(part):
                field = "version" if part == "apiVersion" else part
                yield Cause.invalid(
                    f"metadata.ownerReferences.{field}", shown(owner.get(part, "")), "must not be empty"
                )
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        first, second = (f"{owner['kind']}/{owner['name']}" for owner in controllers[:2])
        why = 'Only one reference can have Controller set to true. Found "true" in references for '
        yield Cause.invalid("metadata.ownerReferences", orjson.dumps(owners).decode(), f"{why}{first} and {second}")


# Pods


def pod_spec(spec: Object, path: str) -> Iterable[Cause]:
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    for kind in ("containers", "initContainers"):
        seen: set[str] = set()
        if kind == "containers" and not spec.get(kind):
            yield Cause.required(f"{path}.containers")
        for i, container in enumerate(spec.get(kind) or ()):
            yield from _container(container, f"{path}.{kind}[{i}]", volumes, seen)
    if spec.get("restartPolicy") not in RESTART:
        yield Cause.unsupported(f"{path}.restartPolicy", shown(spec.get("restartPolicy")), RESTART)
    if (deadline := spec.get("activeDeadlineSeconds")) is not None and deadline < 1:
        why = "must be between 1 and 2147483647, inclusive"
        yield Cause.invalid(f"{path}.activeDeadlineSeconds", shown(deadline), why)


def _container(container: Object, path: str, volumes: set[Any], seen: set[str]) -> Iterable[Cause]:
    name = container.get("name")
    if not name:
        yield Cause.required(f"{path}.name")
    elif not re.fullmatch(LABEL, name):
        yield Cause.invalid(f"{path}.name", shown(name), LABEL_TEXT)
    elif name in seen:
        yield Cause.duplicate(f"{path}.name", shown(name))
    seen.add(name or "")
    if not container.get("image"):
        yield Cause.required(f"{path}.image")
    elif container["image"] != container["image"].strip():
        why = "must not have leading or trailing whitespace"
        yield Cause.invalid(f"{path}.image", shown(container["image"]), why)
    for i, port in enumerate(container.get("ports") or ()):
        yield from _port(port, f"{path}.ports[{i}]", "containerPort")
    for i, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            yield Cause.required(f"{path}.env[{i}].name")
        elif not re.fullmatch(r"[ -<>-~]+", variable["name"]):
            yield Cause.invalid(f"{path}.env[{i}].name", shown(variable["name"]), ENV_TEXT)
        field = ((variable.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath", "metadata.name")
        if not re.fullmatch(POD_FIELD, field):
            why = f"error converting fieldPath: field label not supported: {field}"
            yield Cause.invalid(f"{path}.env[{i}].valueFrom.fieldRef.fieldPath", shown(field), why)
    for i, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            yield Cause.not_found(f"{path}.volumeMounts[{i}].name", shown(mount.get("name", "")))
        if not mount.get("mountPath"):
            yield Cause.required(f"{path}.volumeMounts[{i}].mountPath")
    if container.get("image") and container.get("imagePullPolicy") not in PULL:
        yield Cause.unsupported(f"{path}.imagePullPolicy", shown(container.get("imagePullPolicy")), PULL)
    yield from _resources(container.get("resources") or {}, f"{path}.resources")


def _resources(resources: Object, path: str) -> Iterable[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, found in (("limits", limits), ("requests", requests)):
        for name, value in found.items():
            amount = quantities.parse(value)
            if amount < 0:
                yield Cause.invalid(f"{path}.{kind}[{name}]", shown(value), NEGATIVE)
            if _extended(name) and amount != amount.to_integral_value():
                yield Cause.invalid(f"{path}.{kind}[{name}]", shown(value), "must be an integer")
    for name, value in requests.items():
        limit = limits.get(name)
        if limit is not None and _extended(name) and quantities.parse(value) != quantities.parse(limit):
            yield Cause.invalid(f"{path}.requests", shown(value), f"must be equal to {name} limit of {limit}")
        elif limit is not None and quantities.parse(value) > quantities.parse(limit):
            yield Cause.invalid(
                f"{path}.requests", shown(value), f"must be less than or equal to {name} limit of {limit}"
            )
        elif limit is None and _extended(name):
            yield Cause.required(f"{path}.limits", "Limit must be set for non overcommitable resources")


def _extended(name: str) -> bool:
    return name not in NATIVE and not name.startswith("hugepages-")


# Workloads

COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")


def _job(obj: Object) -> Iterable[Cause]:
    spec, name = obj["spec"], obj["metadata"].get("name", "")
    template = spec["template"]
    yield from _at_least(spec, COUNTS)
    if len(name) > 63:
        # Twice: the name is the value of two labels, job-name with and without its prefix.
        yield from [Cause.invalid("spec.template.labels", shown(name), "must be no more than 63 bytes")] * 2
    yield from _job_selector(obj)
    indexed = spec.get("completionMode") == "Indexed"
    if indexed and spec.get("completions") is None:
        yield Cause.required("spec.completions", "when completion mode is Indexed")
    elif indexed and len(last := f"{name}-{max(spec['completions'] - 1, 0)}") > 63:
        why = f"will not able to create pod with invalid DNS label: {last}"
        yield Cause.invalid("metadata.name", shown(name), why)
    if not indexed and spec.get("backoffLimitPerIndex") is not None:
        why = "requires indexed completion mode"
        yield Cause.invalid("spec.backoffLimitPerIndex", shown(spec["backoffLimitPerIndex"]), why)
    policy = spec.get("podFailurePolicy") or {}
    for i, rule in enumerate(policy.get("rules") or ()):
        codes = rule.get("onExitCodes") or {}
        for j, code in enumerate(codes.get("values") or ()):
            if code == 0 and codes.get("operator") == "In":
                field = f"spec.podFailurePolicy.rules[{i}].onExitCodes.values[{j}]"
                yield Cause.invalid(field, "0", "must not be 0 for the In operator")
    yield from _job_template(template["spec"], policy)


def _job_template(pod: Object, policy: Object) -> Iterable[Cause]:
    path = "spec.template.spec"
    yield from (c for c in pod_spec(pod, path) if c.field != f"{path}.restartPolicy")
    if pod.get("restartPolicy") not in ("OnFailure", "Never"):
        yield Cause.required(f"{path}.restartPolicy", 'valid values: "OnFailure", "Never"')
    elif policy and pod["restartPolicy"] != "Never":
        why = 'only "Never" is supported when podFailurePolicy is specified'
        yield Cause.invalid(f"{path}.restartPolicy", shown(pod["restartPolicy"]), why)


def _job_selector(obj: Object) -> Iterable[Cause]:
    spec = obj["spec"]
    found = (spec.get("selector") or {}).get("matchLabels") or {}
    template = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not spec.get("manualSelector") and len(found) != 1:
        yield Cause.invalid("spec.selector", shown(spec.get("selector")), "`selector` not auto-generated")
    if any(template.get(key) != value for key, value in found.items()):
        yield _unmatched(template)


def _replicated(obj: Object) -> Iterable[Cause]:
    spec, template = obj["spec"], obj["spec"]["template"]
    found = (template.get("metadata") or {}).get("labels") or {}
    if spec.get("selector") is None:
        yield Cause.required("spec.selector")
    elif not any(spec["selector"].values()):
        why = f"empty selector is invalid for {obj['kind'].lower()}"
        yield Cause.invalid("spec.selector", shown(spec["selector"]), why)
    elif not selectors.matches(spec["selector"], found):
        yield _unmatched(found)
    yield from _at_least(spec, ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"))
    yield from pod_spec(template["spec"], "spec.template.spec")
    if template["spec"].get("restartPolicy") in ("OnFailure", "Never"):
        policy = shown(template["spec"]["restartPolicy"])
        yield Cause.unsupported("spec.template.spec.restartPolicy", policy, ["Always"])


def _deployment(obj: Object) -> Iterable[Cause]:
    yield from _replicated(obj)
    spec, strategy, path = obj["spec"], obj["spec"]["strategy"], "spec.strategy.rollingUpdate"
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] not in ("Recreate", "RollingUpdate"):
        yield Cause.unsupported("spec.strategy.type", shown(strategy["type"]), ["Recreate", "RollingUpdate"])
    elif strategy["type"] == "Recreate" and rolling is not None:
        yield Cause.forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
    elif rolling is not None:
        for name in ("maxUnavailable", "maxSurge"):
            if not re.fullmatch(r"\d+%" if isinstance(rolling[name], str) else r"\d+", str(rolling[name])):
                why = "must be greater than or equal to 0, or a percentage (e.g. '1%' or '93%')"
                yield Cause.invalid(f"{path}.{name}", shown(rolling[name]), why)
        if all(str(rolling[name]).rstrip("%").strip("0") == "" for name in ("maxUnavailable", "maxSurge")):
            why = "may not be 0 when `maxSurge` is 0"
            yield Cause.invalid(f"{path}.maxUnavailable", shown(rolling["maxUnavailable"]), why)
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        yield Cause.invalid("spec.progressDeadlineSeconds", shown(deadline), "must be greater than minReadySeconds")


# Small kinds


def _config_map(obj: Object) -> Iterable[Cause]:
    for part in ("data", "binaryData"):
        for key in obj.get(part) or {}:
            if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
                yield Cause.invalid(f"{part}[{key}]", shown(key), KEY_TEXT)


def _secret(obj: Object) -> Iterable[Cause]:
    yield from _config_map(obj)
    needed = {"kubernetes.io/dockerconfigjson": (".dockerconfigjson",), "kubernetes.io/tls": ("tls.crt", "tls.key")}
    for key in needed.get(obj.get("type", ""), ()):
        if key not in (obj.get("data") or {}):
            yield Cause.required(f"data[{key}]")
    if obj.get("type") == "kubernetes.io/service-account-token":
        account = "kubernetes.io/service-account.name"
        if not (obj["metadata"].get("annotations") or {}).get(account):
            yield Cause.required(f"metadata.annotations[{account}]")


def _service(obj: Object) -> Iterable[Cause]:
    spec = obj["spec"]
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec["type"] != "ExternalName":
        yield Cause.required("spec.ports")
    for i, port in enumerate(ports):
        if len(ports) > 1 and not port.get("name"):
            yield Cause.required(f"spec.ports[{i}].name")
        yield from _port(port, f"spec.ports[{i}]", "port")


def _claim(obj: Object) -> Iterable[Cause]:
    spec = obj["spec"]
    if not spec.get("accessModes"):
        yield Cause.required("spec.accessModes", "at least 1 access mode is required")
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        yield Cause.required("spec.resources[storage]")


def _priority_class(obj: Object) -> Iterable[Cause]:
    if obj["value"] > MAX_PRIORITY and not obj["metadata"]["name"].startswith("system-"):
        why = f"maximum allowed value of a user defined priority is {MAX_PRIORITY}"
        yield Cause.forbidden("value", why)


CHECKS: dict[str, Callable[[Object], Iterable[Cause]]] = {
    definitions.KEY: definitions.check,
    "pods": lambda obj: pod_spec(obj["spec"], "spec"),
    "jobs.batch": _job,
    "deployments.apps": _deployment,
    "replicasets.apps": _replicated,
    "configmaps": _config_map,
    "secrets": _secret,
    "services": _service,
    "persistentvolumeclaims": _claim,
    "priorityclasses.scheduling.k8s.io": _priority_class,
}
