"""Derive `schema.json` from the generated.proto files of kubernetes/api, apimachinery and apiextensions-apiserver.

Run by hand when the Kubernetes version changes: `python make_schema.py ROOT... > schema.json`, each ROOT a checkout.
The .proto files are the one place that has every field's name, type and number together with its list semantics.
A field is [number, type, shape, key of strategic merge, keys of apply]; `$atomic` names what apply owns as a whole.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

PACKAGES = (
    "core/v1", "apps/v1", "batch/v1", "policy/v1", "rbac/v1", "storage/v1", "scheduling/v1", "coordination/v1",
    "discovery/v1", "networking/v1", "events/v1", "authentication/v1", "authorization/v1", "autoscaling/v1",
    "pkg/apis/meta/v1", "pkg/runtime", "pkg/util/intstr", "pkg/api/resource",
    "pkg/apis/apiextensions/v1",
)  # fmt: skip
ROOTS = (
    "core.v1", "apps.v1", "batch.v1", "policy.v1", "rbac.v1", "storage.v1", "scheduling.v1", "coordination.v1",
    "discovery.v1", "networking.v1", "events.v1", "authentication.v1", "authorization.v1", "autoscaling.v1",
    "apiextensions.v1",
)  # fmt: skip
INLINE = (
    "volumeSource",
    "persistentVolumeSource",
    "localObjectReference",
    "handler",
    "ephemeralContainerCommon",
)
RENAMED = {"JSONSchemaProps.schema": "$schema", "JSONSchemaProps.ref": "$ref"}
ATOMIC = ("+structType=atomic", "+mapType=atomic")
FIELD = re.compile(r"(?:(optional|repeated) )?(map<string, ([\w.]+)>|[\w.]+) (\w+) = (\d+);")


def short(name: str, package: str) -> str:
    if name in ("string", "bool", "bytes", "int32", "int64", "double", "uint32"):
        return name
    if "." not in name:
        return f"{package}.{name}"
    name = name.lstrip(".").removeprefix("k8s.io.api.").removeprefix("k8s.io.apimachinery.pkg.")
    name = name.removeprefix("k8s.io.apiextensions_apiserver.pkg.")
    return name.removeprefix("apis.").removeprefix("util.").removeprefix("api.")


def json_name(kind: str, name: str) -> str:
    """The few names that are spelled otherwise in JSON: `xKubernetesListType` is `x-kubernetes-list-type`."""
    if name.startswith("xKubernetes"):
        return re.sub(r"[A-Z]", lambda found: "-" + found[0].lower(), name)
    return RENAMED.get(f"{kind.rpartition('.')[2]}.{name}", name)


def parse(text: str, atomic: set[str]) -> dict[str, dict[str, list[object]]]:
    found = re.search(r"^package ([\w.]+);", text, re.M)
    if not found:
        raise ValueError("no package line: is this a .proto file?")
    package = short("." + found[1] + ".x", "").removesuffix(".x")
    messages: dict[str, dict[str, list[object]]] = {}
    kind, current = "", dict[str, list[object]]()
    notes: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("message "):
            kind = f"{package}.{line.split()[1]}"
            current = messages.setdefault(kind, {})
            if ATOMIC[0] in notes:
                atomic.add(kind)
            notes = []
        elif line.startswith("//"):
            notes.append(line[2:].strip())
        elif field := FIELD.match(line):
            name = json_name(kind, field[4])
            current[name] = entry(field, notes, package)
            if any(mark in notes for mark in ATOMIC):
                atomic.add(f"{kind}.{name}")
            notes = []
    return messages


def entry(field: re.Match[str], notes: list[str], package: str) -> list[object]:
    tags = dict(n[1:].partition("=")[::2] for n in notes if n.startswith("+") and not n.startswith("+listMapKey"))
    keys = [n.partition("=")[2] for n in notes if n.startswith("+listMapKey=")]
    shape = "map" if field[3] else "list" if field[1] == "repeated" else ""
    if field[4] in INLINE:
        shape = "inline"
    merge = "merge" in tags.get("patchStrategy", "")
    key = tags.get("patchMergeKey", "*" if merge else "")
    apply_keys = keys or (["*"] if tags.get("listType") == "set" else [])
    return [int(field[5]), short(field[3] or field[2], package), shape, key, apply_keys]


def main(roots: list[str]) -> None:
    messages: dict[str, dict[str, list[object]]] = {}
    atomic: set[str] = set()
    for root in roots:
        for package in PACKAGES:
            path = Path(root) / package / "generated.proto"
            if path.exists():
                messages |= parse(path.read_text(), atomic)
    wanted = [name for name in messages if name.rsplit(".", 1)[0] in ROOTS and "metadata" in messages[name]]
    wanted = [name for name in wanted if not name.endswith("List")]
    kept: dict[str, object] = {}
    wanted += ["meta.v1.DeleteOptions"]
    while wanted:
        name = wanted.pop()
        if name in messages and name not in kept:
            kept[name] = messages[name]
            wanted += [str(field[1]) for field in messages[name].values()]
    lines = [f"{json.dumps(name)}: {json.dumps(kept[name], separators=(',', ':'))}" for name in sorted(kept)]
    named = [name for name in sorted(atomic) if name in kept or name.rpartition(".")[0] in kept]
    lines.append(f'"$atomic": {json.dumps(named)}')
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
