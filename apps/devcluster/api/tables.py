"""The columns kubectl prints, per kind: data, with a function per cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from .registry import Resource
from .structural import Custom


def age(stamp: str | None) -> str:
    """k8s.io/apimachinery/pkg/util/duration.HumanDuration."""
    if not stamp:
        return "<unknown>"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds())
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes = seconds // 60
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d"


NAME_TEXT = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically. Name is primarily intended for creation "
    "idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
DESCRIPTIONS = {
    "Name": NAME_TEXT,
    "Age": "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",  # noqa: E501 the server's own words
    "Data": "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'. Values with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap with the keys in the BinaryData field, this is enforced during validation process.",  # noqa: E501 the server's own words
}
CREATED = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": DESCRIPTIONS["Age"]}
Cell = Callable[[dict[str, Any]], Any]
Column = tuple[str, int, Cell]  # name, priority (1 is shown only with -o wide), cell


def columns(resource: Resource) -> list[dict[str, Any]]:
    if resource.custom:
        name = {"name": "Name", "type": "string", "format": "name", "description": NAME_TEXT, "priority": 0}
        return [name, *map(_custom_column, _printed(resource.custom))]
    return [
        {
            "name": name,
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": DESCRIPTIONS.get(name, name),
            "priority": priority,
        }
        for name, priority, _ in COLUMNS.get(resource.key, PLAIN)
    ]


def _printed(custom: Custom) -> Sequence[dict[str, Any]]:
    return custom.columns or (CREATED,)


def _custom_column(column: dict[str, Any]) -> dict[str, Any]:
    """A column as a definition declares it (`additionalPrinterColumns`)."""
    described = f"Custom resource definition column (in JSONPath format): {column['jsonPath']}"
    return {
        "name": column["name"],
        "type": column["type"],
        "format": column.get("format", ""),
        "description": column.get("description") or described,
        "priority": column.get("priority", 0),
    }


def _custom_cell(column: dict[str, Any], obj: dict[str, Any]) -> Any:
    found = json_path(obj, column["jsonPath"])
    if not found:
        return None
    return age(str(found[0])) if column["type"] == "date" else found[0]


STEP = re.compile(r"""\.([\w\-/\0]+|\*)|\[(\d+|\*)\]|\['([^']+)'\]|\[\?\(@\.([\w.]+)\s*==\s*["']([^"']*)["']\)\]""")


def json_path(obj: Any, path: str) -> list[Any]:
    """What a JSONPath of a printer column finds: names, indices, `*` and `[?(@.a=="b")]`."""
    found = [obj]
    for name, index, quoted, key, wanted in STEP.findall(path.replace("\\.", "\0")):
        name = (name or quoted).replace("\0", ".")
        if key:
            found = [item for each in found if isinstance(each, list) for item in each if at(key)(item) == wanted]
        elif "*" in (name, index):
            found = [item for each in found for item in (each.values() if isinstance(each, dict) else each)]
        elif index:
            found = [each[int(index)] for each in found if isinstance(each, list) and len(each) > int(index)]
        else:
            found = [each[name] for each in found if isinstance(each, dict) and name in each]
    return found


def cells(resource: Resource, obj: dict[str, Any]) -> list[Any]:
    if resource.custom:
        listed = [_custom_cell(column, obj) for column in _printed(resource.custom)]
        return [obj["metadata"]["name"], *listed]
    return [cell(obj) for _, _, cell in COLUMNS.get(resource.key, PLAIN)]


def at(path: str, default: Any = "<none>") -> Cell:
    parts = path.split(".")

    def cell(obj: dict[str, Any]) -> Any:
        found: Any = obj
        for part in parts:
            found = found.get(part) if isinstance(found, dict) else None
        return default if found in (None, "", []) else found

    return cell


def _age(obj: dict[str, Any]) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


def _count(*names: str) -> Cell:
    return lambda obj: sum(len(obj.get(name) or ()) for name in names)


def _selector(obj: dict[str, Any]) -> str:
    found = (obj.get("spec") or {}).get("selector") or {}
    return ",".join(f"{k}={v}" for k, v in sorted(found.get("matchLabels", found).items())) or "<none>"


def _template(part: str) -> Cell:
    return lambda obj: ",".join(c.get(part, "") for c in obj["spec"]["template"]["spec"].get("containers") or ())


def _pod_ready(obj: dict[str, Any]) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or []
    return f"{sum(bool(s.get('ready')) for s in statuses)}/{len(obj['spec'].get('containers') or ())}"


def _pod_status(obj: dict[str, Any]) -> str:
    """printPod in pkg/printers/internalversion: the most telling reason of all containers."""
    status = obj.get("status") or {}
    reason = str(status.get("reason") or status.get("phase") or "Unknown")
    if any(c.get("reason") == "SchedulingGated" for c in status.get("conditions") or ()):
        reason = "SchedulingGated"
    for i, container in enumerate(status.get("initContainerStatuses") or ()):
        state = container.get("state") or {}
        ended = state.get("terminated")
        if (ended and ended.get("exitCode") == 0) or container.get("started"):
            continue
        why = (ended or state.get("waiting") or {}).get("reason", "")
        total = len(obj["spec"].get("initContainers") or ())
        return f"Init:{why}" if why and why != "PodInitializing" else f"Init:{i}/{total}"
    for container in reversed(status.get("containerStatuses") or ()):
        state = container.get("state") or {}
        found = state.get("waiting") or state.get("terminated") or {}
        if found.get("reason"):
            reason = found["reason"]
        elif "exitCode" in found:
            reason = f"ExitCode:{found['exitCode']}"
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return reason


def _restarts(obj: dict[str, Any]) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or []
    count = sum(s.get("restartCount", 0) for s in statuses)
    ends = [((s.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for s in statuses]
    last = max((end for end in ends if end), default=None)
    return f"{count} ({age(last)} ago)" if count and last else str(count)


def _job_status(obj: dict[str, Any]) -> str:
    held = {c["type"] for c in (obj.get("status") or {}).get("conditions") or () if c.get("status") == "True"}
    if "Complete" in held:
        return "Complete"
    if "Failed" in held:
        return "Failed"
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return next((name for name in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if name in held), "Running")


def _completions(obj: dict[str, Any]) -> str:
    done, spec = (obj.get("status") or {}).get("succeeded", 0), obj["spec"]
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallel = spec.get("parallelism") or 1
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _duration(obj: dict[str, Any]) -> str:
    status = obj.get("status") or {}
    if not status.get("startTime"):
        return ""
    if not status.get("completionTime"):
        return age(status["startTime"])
    start, end = (datetime.fromisoformat(status[key]) for key in ("startTime", "completionTime"))
    return age((datetime.now(UTC) - (end - start)).isoformat())


def _node_status(obj: dict[str, Any]) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or []
    ready = next((c.get("status") for c in conditions if c["type"] == "Ready"), None)
    word = "Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"
    return word + (",SchedulingDisabled" if (obj.get("spec") or {}).get("unschedulable") else "")


def _roles(obj: dict[str, Any]) -> str:
    prefix = "node-role.kubernetes.io/"
    return (
        ",".join(sorted(k[len(prefix) :] for k in obj["metadata"].get("labels") or {} if k.startswith(prefix)))
        or "<none>"
    )


def _ports(obj: dict[str, Any]) -> str:
    listed = (obj.get("spec") or {}).get("ports") or ()
    return (
        ",".join(f"{p['port']}{':' + str(p['nodePort']) if p.get('nodePort') else ''}/{p['protocol']}" for p in listed)
        or "<none>"
    )


def _event_object(obj: dict[str, Any]) -> str:
    found = obj.get("involvedObject") or {}
    return f"{found.get('kind', '').lower()}/{found.get('name', '')}"


def _seen(key: str) -> Cell:
    return lambda obj: age(obj.get(key) or obj.get("eventTime") or obj["metadata"].get("creationTimestamp"))


def _quota(part: str) -> Cell:
    def cell(obj: dict[str, Any]) -> str:
        status = obj.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        names = [name for name in sorted(hard) if name.startswith("limits.") == (part == "limits")]
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)

    return cell


NAME: Column = ("Name", 0, at("metadata.name"))
AGE: Column = ("Age", 0, _age)
PLAIN: tuple[Column, ...] = (NAME, AGE)
WORKLOAD: tuple[Column, ...] = (
    ("Containers", 1, _template("name")), ("Images", 1, _template("image")), ("Selector", 1, _selector),
)  # fmt: skip
COLUMNS: dict[str, tuple[Column, ...]] = {
    "pods": (
        NAME, ("Ready", 0, _pod_ready), ("Status", 0, _pod_status), ("Restarts", 0, _restarts), AGE,
        ("IP", 1, at("status.podIP")), ("Node", 1, at("spec.nodeName")),
        ("Nominated Node", 1, at("status.nominatedNodeName")), ("Readiness Gates", 1, lambda obj: "<none>"),
    ),
    "jobs.batch": (
        NAME, ("Status", 0, _job_status), ("Completions", 0, _completions), ("Duration", 0, _duration), AGE, *WORKLOAD,
    ),
    "deployments.apps": (
        NAME, ("Ready", 0, lambda o: f"{at('status.readyReplicas', 0)(o)}/{at('spec.replicas', 0)(o)}"),
        ("Up-to-date", 0, at("status.updatedReplicas", 0)), ("Available", 0, at("status.availableReplicas", 0)), AGE,
        *WORKLOAD,
    ),
    "replicasets.apps": (
        NAME, ("Desired", 0, at("spec.replicas", 0)), ("Current", 0, at("status.replicas", 0)),
        ("Ready", 0, at("status.readyReplicas", 0)), AGE, *WORKLOAD,
    ),
    "poddisruptionbudgets.policy": (
        NAME, ("Min Available", 0, at("spec.minAvailable", "N/A")),
        ("Max Unavailable", 0, at("spec.maxUnavailable", "N/A")),
        ("Allowed Disruptions", 0, at("status.disruptionsAllowed", 0)), AGE,
    ),
    "services": (
        NAME, ("Type", 0, at("spec.type")), ("Cluster-IP", 0, at("spec.clusterIP")),
        ("External-IP", 0, lambda obj: "<none>"), ("Port(s)", 0, _ports), AGE, ("Selector", 1, _selector),
    ),
    "nodes": (
        NAME, ("Status", 0, _node_status), ("Roles", 0, _roles), AGE,
        ("Version", 0, at("status.nodeInfo.kubeletVersion", "")), ("OS-Image", 1, at("status.nodeInfo.osImage")),
    ),
    "namespaces": (NAME, ("Status", 0, at("status.phase")), AGE),
    "configmaps": (NAME, ("Data", 0, _count("data", "binaryData")), AGE),
    "secrets": (NAME, ("Type", 0, at("type")), ("Data", 0, _count("data")), AGE),
    "persistentvolumeclaims": (
        NAME, ("Status", 0, at("status.phase")), ("Volume", 0, at("spec.volumeName", "")),
        ("Capacity", 0, at("status.capacity.storage", "")),
        ("Access Modes", 0, lambda obj: ",".join(at("status.accessModes", [])(obj))),
        ("StorageClass", 0, at("spec.storageClassName", "")), AGE,
    ),
    "events": (
        ("Last Seen", 0, _seen("lastTimestamp")), ("Type", 0, at("type")), ("Reason", 0, at("reason")),
        ("Object", 0, _event_object), ("Subobject", 1, at("involvedObject.fieldPath", "")),
        ("Source", 1, at("source.component", "")), ("Message", 0, at("message", "")),
        ("First Seen", 1, _seen("firstTimestamp")), ("Count", 1, at("count", 1)), ("Name", 1, at("metadata.name")),
    ),
    "resourcequotas": (NAME, ("Request", 0, _quota("requests")), ("Limit", 0, _quota("limits")), AGE),
    "priorityclasses.scheduling.k8s.io": (
        NAME, ("Value", 0, at("value", 0)), ("Global-Default", 0, at("globalDefault", False)), AGE,
        ("PreemptionPolicy", 0, at("preemptionPolicy")),
    ),
    "leases.coordination.k8s.io": (NAME, ("Holder", 0, at("spec.holderIdentity", "")), AGE),
}  # fmt: skip
