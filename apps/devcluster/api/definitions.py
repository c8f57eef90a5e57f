"""CustomResourceDefinitions as data: defaults, checks, and the rows of the registry that one stands for.

Source: pkg/apis/apiextensions of k8s.io/apiextensions-apiserver.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .clock import timestamp
from .errors import Cause
from .registry import SCALE, STATUS, Resource
from .store import Object
from .structural import Custom

KEY = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


def fill(obj: Object) -> None:
    """Defaults of a definition."""
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if kind := names.get("kind"):
        names.setdefault("singular", kind.lower())
        names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})


def begin(obj: Object) -> None:
    """The status of a definition that nobody has looked at yet."""
    stored = [version["name"] for version in _versions(obj) if version.get("storage")]
    names = {"plural": "", "kind": ""}
    obj["status"] = {"conditions": None, "acceptedNames": names, "storedVersions": stored}


def check(obj: Object) -> Iterable[Cause]:
    spec = obj["spec"]
    names = spec["names"]
    expected = f"{names.get('plural', '')}.{spec.get('group', '')}"
    if obj["metadata"].get("name") != expected:
        shown = f'"{obj["metadata"].get("name", "")}"'
        yield Cause.invalid("metadata.name", shown, 'must be spec.names.plural+"."+spec.group')
    for part in ("plural", "kind"):
        if not names.get(part):
            yield Cause.required(f"spec.names.{part}")
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        yield Cause.unsupported("spec.scope", f'"{spec.get("scope", "")}"', ["Cluster", "Namespaced"])
    for i, version in enumerate(_versions(obj)):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        where = f"spec.versions[{i}].schema.openAPIV3Schema"
        if not schema:
            yield Cause.required(where)
        elif schema.get("type") != "object":
            yield Cause.invalid(f"{where}.type", f'"{schema.get("type", "")}"', "must be object at the root")
    if sum(bool(version.get("storage")) for version in _versions(obj)) != 1:
        yield Cause.invalid("spec.versions", "null", "must have exactly one version marked as storage version")


def terminating(obj: Object) -> None:
    """Tell at once that the definition goes, and its objects before it."""
    why = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    settle(obj.setdefault("status", {}), "Terminating", "InstanceDeletionPending", why)


def rows(definition: Object) -> list[Resource]:
    """A row for each version that is served."""
    spec = definition["spec"]
    names, group = spec["names"], spec["group"]
    stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
    found = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        wanted = version.get("subresources") or {}
        subresources = tuple(sub for sub in (STATUS, SCALE) if sub.name in wanted)
        custom = Custom(
            schema=version["schema"]["openAPIV3Schema"],
            stored_version=f"{group}/{stored}",
            columns=tuple(version.get("additionalPrinterColumns") or ()),
            scale=wanted.get("scale") or {},
        )
        row = Resource(
            group=group,
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            singular=names["singular"],
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            verbs=VERBS,
            subresources=subresources,
            categories=tuple(names.get("categories") or ()),
            generation=True,
            subresource_names=frozenset(sub.name for sub in subresources),
            custom=custom,
        )
        found.append(row)
    return found


def settle(status: Object, kind: str, reason: str, message: str, value: str = "True") -> None:
    found = {c["type"]: c for c in status.get("conditions") or ()}
    if (known := found.get(kind)) and (known["status"], known["reason"]) == (value, reason):
        return
    found[kind] = {
        "type": kind, "status": value, "lastTransitionTime": timestamp(), "reason": reason, "message": message,
    }  # fmt: skip
    status["conditions"] = list(found.values())


def _versions(obj: Object) -> list[dict[str, Any]]:
    return obj["spec"].get("versions") or []
