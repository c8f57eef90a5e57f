"""How an answer looks: plain JSON, YAML, a Table for kubectl, or metadata alone, as the Accept header asks."""

from __future__ import annotations

from typing import Any, Protocol

import orjson
import yaml
from aiohttp import web

from . import errors, tables
from .listing import Page
from .registry import Resource
from .store import Object, Stored

META = "meta.k8s.io"
POD_ENDED = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}
AVAILABLE = (
    "application/json, application/yaml, application/vnd.kubernetes.protobuf, "
    "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
)


def json_answer(body: Object, status: int = 200, content_type: str = "application/json") -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, headers={"Content-Type": content_type})


class Presenter(Protocol):
    content_type: str
    watch_type: str

    def one(self, stored: Stored) -> bytes: ...

    def many(self, page: Page) -> bytes: ...


def choose(request: web.Request, resource: Resource) -> Presenter:
    accept = request.headers.get("Accept", "")
    if accept in ("", "*/*", "application/json"):
        return Json(resource)
    for clause in accept.split(","):
        media, *params = (part.strip() for part in clause.split(";"))
        options = dict(param.partition("=")[::2] for param in params)
        shape = options.get("as")
        if media not in ("application/json", "application/yaml", "*/*", "application/*"):
            continue
        if shape is None:
            return Yaml(resource) if media == "application/yaml" else Json(resource)
        if options.get("g") == META and options.get("v") in ("v1", "v1beta1"):
            if shape == "Table":
                return Table(resource, request.query.get("includeObject", "Metadata"), options["v"])
            if shape in ("PartialObjectMetadata", "PartialObjectMetadataList"):
                return MetadataOnly(resource, options["v"])
    message = f"406: Not Acceptable\n\nAvailable representations: {AVAILABLE}"
    raise errors.ApiError(406, "NotAcceptable", message, {})


def list_metadata(page: Page) -> Object:
    metadata: Object = {"resourceVersion": str(page.version)}
    if page.token:
        metadata["continue"] = page.token
    if page.remaining:
        metadata["remainingItemCount"] = page.remaining
    return metadata


class Json:
    content_type = watch_type = "application/json"

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        # Objects of events.k8s.io are stored once, in the core group's words.
        # A custom resource is stored in one version and served in several.
        stored = resource.custom.stored_version if resource.custom else resource.api_version
        self._translate = bool(resource.stored_as) or stored != resource.api_version

    def one(self, stored: Stored) -> bytes:
        return orjson.dumps(self._own(stored.obj)) if self._translate else stored.raw

    def _own(self, obj: Object) -> Object:
        return {**obj, "kind": self.resource.kind, "apiVersion": self.resource.api_version}

    def many(self, page: Page) -> bytes:
        """The stored bytes joined; items of a list repeat neither kind nor apiVersion in Go, clients accept both."""
        head = {"kind": f"{self.resource.kind}List", "apiVersion": self.resource.api_version}
        start = orjson.dumps({**head, "metadata": list_metadata(page)})
        return start[:-1] + b',"items":[' + b",".join(_item(stored) for stored in page.items) + b"]}"


def _item(stored: Stored) -> bytes:
    return orjson.dumps({k: v for k, v in stored.obj.items() if k not in ("kind", "apiVersion")})


class Yaml(Json):
    content_type = watch_type = "application/yaml"

    def one(self, stored: Stored) -> bytes:
        return yaml.safe_dump(self._own(stored.obj), sort_keys=True).encode()

    def many(self, page: Page) -> bytes:
        return yaml.safe_dump(orjson.loads(super().many(page))).encode()


class MetadataOnly:
    content_type = watch_type = "application/json"

    def __init__(self, resource: Resource, version: str) -> None:
        self._version = f"{META}/{version}"

    def _of(self, obj: Object) -> Object:
        return {"kind": "PartialObjectMetadata", "apiVersion": self._version, "metadata": obj["metadata"]}

    def one(self, stored: Stored) -> bytes:
        return orjson.dumps(self._of(stored.obj))

    def many(self, page: Page) -> bytes:
        items = [self._of(stored.obj) for stored in page.items]
        head = {"kind": "PartialObjectMetadataList", "apiVersion": self._version}
        return orjson.dumps({**head, "metadata": list_metadata(page), "items": items})


class Table:
    content_type = watch_type = "application/json"

    def __init__(self, resource: Resource, include: str, version: str) -> None:
        self.resource, self._include, self._version = resource, include, f"{META}/{version}"
        self._columns_due = True

    def one(self, stored: Stored) -> bytes:
        metadata = stored.obj["metadata"]
        bookmark = "name" not in metadata
        listed = {"resourceVersion": metadata.get("resourceVersion", "")}
        table = self._table(listed, [] if bookmark else [stored])
        if not self._columns_due:
            table["columnDefinitions"] = None  # in a watch only the first event names the columns
        self._columns_due = False
        return orjson.dumps(table)

    def many(self, page: Page) -> bytes:
        return orjson.dumps(self._table(list_metadata(page), page.items))

    def _table(self, metadata: Object, items: list[Stored]) -> Object:
        return {
            "kind": "Table",
            "apiVersion": self._version,
            "metadata": metadata,
            "columnDefinitions": tables.columns(self.resource),
            "rows": [self._row(stored.obj) for stored in items],
        }

    def _row(self, obj: Object) -> Object:
        row: dict[str, Any] = {"cells": tables.cells(self.resource, obj)}
        phase = (obj.get("status") or {}).get("phase") if self.resource.key == "pods" else None
        if phase in POD_ENDED:  # kubectl hides or dims rows that are completed
            ended = {"type": "Completed", "status": "True", "reason": phase, "message": POD_ENDED[phase]}
            row["conditions"] = [ended]
        if self._include == "Object":
            row["object"] = obj
        elif self._include == "None":
            row["object"] = None
        else:
            partial = {
                "kind": "PartialObjectMetadata",
                "apiVersion": self._version,
                "metadata": obj["metadata"],
            }
            row["object"] = partial
        return row
