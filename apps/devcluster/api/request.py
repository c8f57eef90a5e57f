"""From an HTTP request to what it asks: target, options, body. The answers to malformed ones are Kubernetes' own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import yaml
from aiohttp import web

from . import errors, protobuf, schema
from .call import SYSTEM, Call, DeleteOptions, Identity
from .errors import Cause
from .ownership import Owner
from .registry import Registry, Resource

IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)


class Yaml11(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.1 as Go's parser reads it: a bare y or n is a boolean too."""


Yaml11.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^[yYnN]$"), list("yYnN"))
Yaml11.add_constructor("tag:yaml.org,2002:bool", lambda loader, node: node.value.lower() in ("y", "yes", "true", "on"))
PATCH_TYPES = {
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/json-patch+json": "json",
    "application/apply-patch+yaml": "apply",
}
BODY_TYPES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False

    @property
    def label(self) -> str:
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


@dataclass(frozen=True, slots=True)
class PathParts:
    """A path taken apart; whether such a resource exists is another question, asked after who may ask."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False


def split_path(path: str) -> PathParts:
    """`/api/v1/...` and `/apis/group/version/...`, as k8s.io/apiserver/pkg/endpoints/request does."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    watch = bool(rest) and rest[0] == "watch"
    if watch:
        rest = rest[1:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in ("status", "finalize")):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3 and rest[2] == "proxy":
        rest = rest[:3]  # What follows is a path of whatever is behind.
    if not rest or len(rest) > 3:
        raise errors.no_such_resource()
    plural, name, subresource = (*rest, "", "")[:3]
    return PathParts(group, version, plural, namespace, name, subresource, watch)


def find_target(registry: Registry, parts: PathParts) -> Target:
    resource = registry.find(parts.group, parts.version, parts.plural)
    wrong = parts.namespace and not resource.namespaced
    if wrong or (parts.subresource and parts.subresource not in resource.subresource_names):
        raise errors.no_such_resource()
    if resource.namespaced and parts.name and not parts.namespace:
        raise errors.no_such_resource()
    return Target(resource, parts.namespace, parts.name, parts.subresource, parts.watch)


def flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("1", "true", "t")


def number(request: web.Request, name: str) -> int:
    value = request.query.get(name, "")
    try:
        return int(value or 0)
    except ValueError:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{value}": invalid syntax') from None


def call_for(request: web.Request, identity: Identity, target: Target, options: str) -> Call:
    """Options every write shares; a wrong value is refused before the object is looked at."""
    check_options(request, options)
    owns = None
    if identity is not SYSTEM and options in TRACKED and target.subresource in TRACKED_DOORS:
        owns = Owner(target.resource, _manager(request), target.subresource).updated
    return Call(identity, dry_run="dryRun" in request.query, subresource=target.subresource, owns=owns)


TRACKED = ("CreateOptions", "UpdateOptions", "PatchOptions")
TRACKED_DOORS = ("", "status", "scale", "ephemeralcontainers", "resize")


def _manager(request: web.Request) -> str:
    """Who owns what this request sets: as it says, or the program that sent it."""
    told = request.query.get("fieldManager") or request.headers.get("User-Agent", "").partition("/")[0]
    return "".join(filter(str.isprintable, told))[:128] or "unknown"


def check_options(request: web.Request, options: str) -> None:
    dry = request.query.getall("dryRun", [])
    causes = []
    if dry and dry != ["All"]:
        listed = " ".join(f'"{value}"' for value in dry)
        causes.append(Cause.unsupported("dryRun", f"[{listed}]", ["All"]))
    validation = request.query.get("fieldValidation")
    if validation not in (None, "", "Ignore", "Strict", "Warn"):
        allowed = ["", "Ignore", "Strict", "Warn"]
        causes.append(Cause.unsupported("fieldValidation", f'"{validation}"', allowed))
    if causes:
        raise errors.invalid_options(options, causes)


async def read_body(request: web.Request, kind: str) -> tuple[Any, bytes]:
    """The parsed body and its bytes (which alone still show a field given twice)."""
    media = request.content_type
    raw = await request.read()
    if media in ("application/json", "application/octet-stream") or not request.headers.get("Content-Type"):
        return parse_json(raw, kind), raw
    if media == "application/vnd.kubernetes.protobuf":
        return protobuf.decode(raw), b""
    if media in ("application/yaml", "application/apply-patch+yaml"):
        return parse_yaml(raw, kind), raw
    message = f"the body of the request was in an unknown format - accepted media types include: {BODY_TYPES}"
    raise errors.ApiError(415, "UnsupportedMediaType", message)


def parse_json(raw: bytes, kind: str) -> Any:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        shown = raw.decode(errors="replace") or "<empty>"
        why = "unexpected end of JSON input" if _cut_short(raw) else f"invalid character '{shown[:1]}'"
        raise _unrecognized(kind, why, shown) from None
    if not isinstance(body, dict):
        go = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        what = {list: "array", str: "string", bool: "bool"}.get(type(body), "number")
        raise _unrecognized(kind, f"json: cannot unmarshal {what} into Go value of type {go}", raw.hex())
    return body


def parse_yaml(raw: bytes, kind: str) -> Any:
    try:
        body = yaml.load(raw, Loader=Yaml11)  # noqa: S506  it is a safe loader
    except yaml.YAMLError as error:
        raise _unrecognized(kind, f"error converting YAML to JSON: {error}", "") from None
    if not isinstance(body, dict):
        raise _unrecognized(kind, "the document is no mapping", "")
    return orjson.loads(orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS))


def _cut_short(raw: bytes) -> bool:
    text = raw.strip()
    return not text or (text[:1] in b"{[" and text[-1:] not in b"}]")


def _unrecognized(kind: str, why: str, shown: str) -> errors.ApiError:
    return errors.bad_request(
        f"the object provided is unrecognized (must be of type {kind}): "
        f"couldn't get version/kind; json parse error: {why} ({shown})"
    )


def check_envelope(target: Target, body: dict[str, Any], kind: str, api_version: str, registry: Registry) -> None:
    """Does the body claim to be what the path says, by that name and in that namespace?"""
    claimed_kind, claimed_version = body.get("kind") or kind, body.get("apiVersion") or api_version
    if (claimed_kind, claimed_version) != (kind, api_version):
        prefix = f'{claimed_kind} in version "{claimed_version.rpartition("/")[2]}" cannot be handled as a {kind}: '
        other = registry.of_kind(claimed_version, claimed_kind)
        if other is None:
            version = claimed_version
            why = f'no kind "{claimed_kind}" is registered for version "{version}" in scheme "devcluster"'
        else:
            group = target.resource.group.split(".")[0] or "core"
            theirs = f"{other.version}.{claimed_kind}"
            why = f"converting ({theirs}) to ({group}.{kind}): unknown conversion"
        raise errors.bad_request(prefix + why)
    body["kind"], body["apiVersion"] = kind, api_version


def check_names(target: Target, body: dict[str, Any]) -> None:
    metadata = body.get("metadata")
    if metadata is None:
        metadata = body["metadata"] = {}
    name = metadata.get("name") or ""
    if target.name and name != target.name:
        if name:
            why = f"the name of the object ({name}) does not match the name on the URL ({target.name})"
            raise errors.bad_request(why)
        metadata["name"] = target.name
    namespace = metadata.get("namespace") or ""
    if target.resource.namespaced and namespace and namespace != target.namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def decode(request: web.Request, target: Target, body: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], list[str]]:
    """The object as its type has it, and the warnings to send; `Strict` makes them an error."""
    mode = request.query.get("fieldValidation") or "Warn"
    resource = target.resource
    obj, unknown = schema.decode(resource, body)
    complaints = [f'unknown field "{path}"' for path in unknown]
    if mode != "Ignore" and request[IDENTITY] is not SYSTEM:  # The house's own components say nothing twice.
        complaints += [f'duplicate field "{path}"' for path in duplicates(raw)]
    if mode == "Strict" and complaints:
        prefix = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
        raise errors.bad_request(f"{prefix}strict decoding error: {', '.join(complaints)}")
    return obj, complaints if mode == "Warn" else []


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON that still has every key as often as it was given."""


def duplicates(raw: bytes) -> list[str]:
    """Paths of the keys given more than once; only the bytes still know."""
    repeated = False

    def notice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        found = dict(pairs)
        repeated |= len(found) < len(pairs)
        return found

    if raw.lstrip()[:1] != b"{":
        return []  # not JSON
    json.loads(raw, object_pairs_hook=notice)
    return list(_repeated(json.loads(raw, object_pairs_hook=_Pairs), "")) if repeated else []


def _repeated(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            here = f"{path}.{key}" if path else key
            if key in seen:
                yield here
            seen.add(key)
            yield from _repeated(item, here)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _repeated(item, f"{path}[{i}]")


POLICIES = ["Foreground", "Background", "Orphan", "nil"]


async def delete_options(request: web.Request) -> DeleteOptions:
    raw = await request.read()
    body: dict[str, Any] = {}
    if raw.strip():
        body = parse_yaml(raw, "DeleteOptions") if "yaml" in request.content_type else parse_json(raw, "DeleteOptions")
    check_options(request, "DeleteOptions")
    policy = body.get("propagationPolicy") or request.query.get("propagationPolicy")
    orphan = body.get("orphanDependents")
    if orphan is None and "orphanDependents" in request.query:
        orphan = flag(request, "orphanDependents")
    if orphan is not None and policy is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        cause = Cause.invalid("propagationPolicy", f'"{policy}"', why)
        raise errors.invalid_options("DeleteOptions", [cause])
    if policy not in (None, *POLICIES[:3]):
        cause = Cause.unsupported("propagationPolicy", f'"{policy}"', POLICIES)
        raise errors.invalid_options("DeleteOptions", [cause])
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    grace = body.get("gracePeriodSeconds")
    if grace is None and request.query.get("gracePeriodSeconds"):
        grace = number(request, "gracePeriodSeconds")
    conditions = body.get("preconditions") or {}
    return DeleteOptions(grace, policy, conditions.get("uid"), conditions.get("resourceVersion"))
