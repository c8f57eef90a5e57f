"""The group metrics.k8s.io as metrics-server answers it: what the kubelet measures, never stored, never watched.

Source: sigs.k8s.io/metrics-server/pkg/api/pod.go and node.go.
"""

from __future__ import annotations

from aiohttp import web

from . import errors, listing
from .context import Api
from .present import json_answer
from .request import Target
from .store import Object

GROUP = "metrics.k8s.io"


def serve(api: Api, request: web.Request, target: Target) -> web.Response:
    """One measurement, or those a selector asks for, by namespace and name."""
    if api.node is None:
        raise errors.ApiError(503, "ServiceUnavailable", "no node measures anything here")
    measured = api.node.node_usage() if target.resource.plural == "nodes" else api.node.pod_usage()
    items = sorted((item for item in measured if target.namespace in ("", _place(item)[0])), key=_place)
    head = {"kind": target.resource.kind, "apiVersion": target.resource.api_version}
    if target.name:
        return json_answer({**head, **_named(api, target, items)})
    wanted = listing.predicate_for(request, target)
    chosen = [item for item in items if wanted is None or wanted(item)]
    return json_answer({**head, "kind": f"{head['kind']}List", "metadata": {}, "items": chosen})


def _place(item: Object) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _named(api: Api, target: Target, items: list[Object]) -> Object:
    """Raises a 404 that tells what is missing: the object itself, or only its measurement."""
    found = next((item for item in items if item["metadata"]["name"] == target.name), None)
    if found is not None:
        return found
    if api.store.get(target.resource.plural, target.namespace, target.name) is None:
        raise errors.not_found(target.resource.plural, "", target.name)
    name = "/".join(filter(None, (target.namespace, target.name)))
    raise errors.not_found(target.resource.kind.lower(), GROUP, name)
