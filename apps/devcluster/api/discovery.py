"""What is on offer: versions, groups, resources and health."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from . import errors, openapi
from .present import json_answer
from .registry import Registry, Resource

VERSION = {
    "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35", "gitVersion": "v1.36.2+cube.devcluster", "gitCommit": "", "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "gc", "platform": "linux/amd64",
}  # fmt: skip
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def names_objects(path: str) -> bool:
    parts = path.strip("/").split("/")
    return (parts[0] == "api" and len(parts) > 2) or (parts[0] == "apis" and len(parts) > 3)


def answer(registry: Registry, request: web.Request) -> web.Response:
    """The answer for a path that names no object."""
    parts = request.path.strip("/").split("/")
    match parts[0]:
        case "api":
            return _legacy(registry, request, parts)
        case "apis":
            return _groups(registry, request, parts)
        case "healthz" | "livez" | "readyz":
            return web.Response(text="ok")
        case "version":
            return json_answer(VERSION)
        case "openapi":
            document = openapi.answer(registry, request.path)
            kind = "text/plain; charset=utf-8" if request.path == "/openapi/v3" else "application/json"
            return no_page() if document is None else json_answer(document, content_type=kind)
        case "":
            paths = ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]
            return json_answer({"paths": paths})
    return no_page()


def _legacy(registry: Registry, request: web.Request, parts: list[str]) -> web.Response:
    if len(parts) == 1:
        if wants_aggregated(request):
            return json_answer(_aggregate(registry, [("", ["v1"])]), content_type=AGGREGATED)
        port = request.host.rpartition(":")[2]
        server = [{"clientCIDR": "0.0.0.0/0", "serverAddress": f"127.0.0.1:{port}"}]
        return json_answer({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": server})
    if parts[1] != "v1":
        return no_page()
    return json_answer(_resources(registry, "", "v1"))


def _groups(registry: Registry, request: web.Request, parts: list[str]) -> web.Response:
    groups = {name: versions for name, versions in registry.groups().items() if name}
    if len(parts) == 1:
        if wants_aggregated(request):
            return json_answer(_aggregate(registry, list(groups.items())), content_type=AGGREGATED)
        listed = [_group(name, versions) for name, versions in groups.items()]
        return json_answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
    if parts[1] not in groups:
        return no_page()
    if len(parts) == 2:
        return json_answer({"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], groups[parts[1]])})
    if parts[2] not in groups[parts[1]]:
        raise errors.no_such_resource()
    return json_answer(_resources(registry, parts[1], parts[2]))


def wants_aggregated(request: web.Request) -> bool:
    return "as=APIGroupDiscoveryList" in request.headers.get("Accept", "") and "v=v2" in request.headers["Accept"]


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resources(registry: Registry, group: str, version: str) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []
    for resource in registry.of_group(group, version):
        listed += _rows(resource)
    listed.sort(key=lambda row: row["name"])
    group_version = f"{group}/{version}" if group else version
    head: dict[str, Any] = {"kind": "APIResourceList"}
    if group:
        head["apiVersion"] = "v1"
    return {**head, "groupVersion": group_version, "resources": listed}


def _rows(resource: Resource) -> list[dict[str, Any]]:
    own: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        own["shortNames"] = list(resource.short_names)
    if resource.categories:
        own["categories"] = list(resource.categories)
    rows = [own]
    for sub in resource.subresources:
        row: dict[str, Any] = {
            "name": f"{resource.plural}/{sub.name}",
            "singularName": "",
            "namespaced": resource.namespaced,
        }
        if sub.group:
            row |= {"group": sub.group, "version": sub.version}
        rows.append({**row, "kind": sub.kind or resource.kind, "verbs": list(sub.verbs)})
    return rows


def _aggregate(registry: Registry, groups: list[tuple[str, list[str]]]) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    for group, versions in groups:
        offered = [
            {
                "version": version,
                "resources": [
                    _discovered(r) for r in sorted(registry.of_group(group, version), key=lambda r: r.plural)
                ],
                "freshness": "Current",
            }
            for version in versions
        ]
        metadata: dict[str, Any] = {"name": group} if group else {}
        items.append({"metadata": {**metadata, "creationTimestamp": None}, "versions": offered})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _discovered(resource: Resource) -> dict[str, Any]:
    def kind(group: str, version: str, name: str) -> dict[str, str]:
        return {"group": group, "version": version, "kind": name}

    own: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        own["shortNames"] = list(resource.short_names)
    if resource.categories:
        own["categories"] = list(resource.categories)
    if resource.subresources:
        own["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": kind(
                    sub.group or resource.group, sub.version or resource.version, sub.kind or resource.kind
                ),
                "verbs": list(sub.verbs),
            }
            for sub in resource.subresources
        ]
    return own


def no_page() -> web.Response:
    return web.Response(text="404 page not found\n", status=404)
