"""What may not change once it is set, per kind."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import orjson

from .errors import Cause, shown
from .store import Object

IMMUTABLE = "field is immutable"
POD_MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
)


def metadata(now: Object, old: Object) -> Iterable[Cause]:
    if "deletionTimestamp" in old:
        more = [f for f in now.get("finalizers") or () if f not in (old.get("finalizers") or ())]
        if more:
            listed = "[]string{" + ", ".join(f'"{f}"' for f in more) + "}"
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers {listed}"
            # Twice, as recorded: the generic strategy and the kind's own both check the metadata.
            yield from [Cause.forbidden("metadata.finalizers", why)] * 2


def immutable(key: str, obj: Object, old: Object) -> Iterable[Cause]:
    for path, why in FIXED.get(key, {}).items():
        now, before = ((each["spec"] if path == "selector" else each).get(path) for each in (obj, old))
        if now != before:
            field = f"spec.{path}" if path == "selector" else path
            yield Cause.forbidden(field, why) if path == "value" else Cause.invalid(field, shown(now), why)
    if key in CHECKS:
        yield from CHECKS[key](obj, old)


def _config(obj: Object, old: Object) -> Iterable[Cause]:
    if not old.get("immutable"):
        return
    if not obj.get("immutable"):
        yield Cause.forbidden("immutable", "field is immutable when `immutable` is set")
    for part in ("data", "binaryData"):
        if (obj.get(part) or {}) != (old.get(part) or {}):
            yield Cause.forbidden(part, "field is immutable when `immutable` is set")


def _service(obj: Object, old: Object) -> Iterable[Cause]:
    now, before = obj["spec"].get("clusterIP"), old["spec"].get("clusterIP")
    if before and now != before and obj["spec"]["type"] != "ExternalName":
        yield Cause.invalid("spec.clusterIPs[0]", shown([now]), "may not change once set")


def _claim(obj: Object, old: Object) -> Iterable[Cause]:
    def rest(spec: Object) -> Object:
        return {k: v for k, v in spec.items() if k not in ("resources", "volumeAttributesClassName")}

    bound = "volumeName" in old["spec"]
    now, before = rest(obj["spec"]), rest(old["spec"])
    if not bound:
        now.pop("volumeName", None)
    if now != before:
        why = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        yield Cause.forbidden("spec", f"{why}\n{_difference(obj['spec'], old['spec'])}")


def _job(obj: Object, old: Object) -> Iterable[Cause]:
    now, before, status = obj["spec"], old["spec"], old.get("status") or {}
    indexed = before.get("completionMode") == "Indexed"
    elastic = indexed and now.get("completions") == now.get("parallelism")
    if now.get("completions") != before.get("completions") and not elastic:
        why = "can only be modified in tandem with spec.parallelism" if indexed else IMMUTABLE
        yield Cause.invalid("spec.completions", shown(now.get("completions")), why)
    if now.get("selector") != before.get("selector"):
        yield Cause.invalid("spec.selector", shown(now.get("selector")), IMMUTABLE)
    if _template(now, before, status) != _template(before, before, status):
        yield Cause.invalid("spec.template", shown(now["template"]), IMMUTABLE)
    for name in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        if now.get(name) != before.get(name):
            yield Cause.invalid(f"spec.{name}", shown(now.get(name)), IMMUTABLE)


def _template(spec: Object, before: Object, status: Object) -> Object:
    """A Job that is suspended and has not started may still be told where and how big to run."""
    template = spec["template"]
    if not (before.get("suspend") and not status.get("startTime")):
        return dict(template)
    free = ("nodeSelector", "affinity", "tolerations", "schedulingGates", "containers", "initContainers")
    fixed = {k: v for k, v in template["spec"].items() if k not in free}
    for kind in ("containers", "initContainers"):
        fixed[kind] = [
            {k: v for k, v in container.items() if k != "resources"} for container in template["spec"].get(kind) or ()
        ]
    return fixed


def _pod(obj: Object, old: Object) -> Iterable[Cause]:
    def fixed(spec: Object) -> Object:
        kept = {k: v for k, v in spec.items() if k not in ("activeDeadlineSeconds", "tolerations")}
        if kept.get("schedulingGates") is not None or "schedulingGates" in old["spec"]:
            for free in ("schedulingGates", "nodeSelector", "affinity"):
                kept.pop(free, None)
        for kind in ("containers", "initContainers"):
            kept[kind] = [{k: v for k, v in c.items() if k != "image"} for c in spec.get(kind) or ()]
        return kept

    if fixed(obj["spec"]) != fixed(old["spec"]):
        yield Cause.forbidden("spec", POD_MUTABLE + _difference(obj["spec"], old["spec"]))


def _difference(now: Object, before: Object) -> str:
    """The lines that differ, below the place they are at; a real server shows its own structures here."""
    texts = [orjson.dumps(spec, option=orjson.OPT_INDENT_2).decode().splitlines() for spec in (before, now)]
    return "\n".join(list(difflib.unified_diff(*texts, n=1, lineterm=""))[2:])


# Fields that stay as they are, and what is said of a change; `selector` is in the spec.
FIXED = {
    "secrets": {"type": IMMUTABLE},
    "priorityclasses.scheduling.k8s.io": {"value": "may not be changed in an update."},
    "deployments.apps": {"selector": IMMUTABLE},
    "replicasets.apps": {"selector": IMMUTABLE},
    "rolebindings.rbac.authorization.k8s.io": {"roleRef": "cannot change roleRef"},
    "clusterrolebindings.rbac.authorization.k8s.io": {"roleRef": "cannot change roleRef"},
}
CHECKS = {
    "configmaps": _config,
    "secrets": _config,
    "services": _service,
    "persistentvolumeclaims": _claim,
    "jobs.batch": _job,
    "pods": _pod,
}
