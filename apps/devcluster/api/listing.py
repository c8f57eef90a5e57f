"""Lists: selectors, pages, and what a resourceVersion asked for means.

A page continues in the snapshot it began with; the snapshot is rebuilt from today's objects by undoing later changes.
Source: k8s.io/apiserver/pkg/registry/generic/registry (ListPredicate) and .../apis/meta/internalversion/validation.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass

import orjson
from aiohttp import web

from . import errors, selectors
from .errors import ApiError, Cause
from .request import Target, number
from .store import Key, Store, Stored

FUTURE_WAIT = 3.0  # seconds the API server waits for a version it has not seen (waitUntilFreshAndBlock)
Items = list[tuple[Key, Stored]]


@dataclass(slots=True)
class Page:
    items: list[Stored]
    version: int
    token: str = ""
    remaining: int | None = None


def predicate_for(request: web.Request, target: Target) -> selectors.Predicate | None:
    resource = target.resource
    group = "" if resource.custom else resource.group  # only built-in kinds name themselves in the refusal
    return selectors.both(
        selectors.labels(request.query.get("labelSelector", "")),
        selectors.fields(request.query.get("fieldSelector", ""), resource.key, group, resource.kind),
    )


def check_version_options(request: web.Request) -> None:
    match = request.query.get("resourceVersionMatch", "")
    version = request.query.get("resourceVersion", "")
    if not match:
        return
    cause = None
    if request.query.get("continue"):
        cause = Cause.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for continue")
    elif not version:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        cause = Cause.forbidden("resourceVersionMatch", why)
    elif match not in ("Exact", "NotOlderThan"):
        cause = Cause.unsupported("resourceVersionMatch", f'"{match}"', ["Exact", "NotOlderThan", ""])
    elif match == "Exact" and version == "0":
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        cause = Cause.forbidden("resourceVersionMatch", why)
    if cause:
        raise errors.invalid_options("ListOptions", [cause])


def parse_version(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        parse = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        raise ValueError(f'resourceVersion: Invalid value: "{text}": {parse}')
    return int(text)


async def page(store: Store, request: web.Request, target: Target) -> Page:
    predicate = predicate_for(request, target)
    limit = number(request, "limit")
    token = request.query.get("continue", "")
    check_version_options(request)
    if token:
        if request.query.get("resourceVersion"):
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        version, start = _decode(token)
        items = _snapshot(store, target, version)
        if items is None:
            raise _token_expired(store, start)
        items = [item for item in items if item[0] > start]
        return _cut(items, predicate, limit, version or store.version)
    version = await _version_asked(store, request)
    exact = limit or request.query.get("resourceVersionMatch") == "Exact"
    if version and exact and request.query.get("resourceVersionMatch") != "NotOlderThan":
        items = _snapshot(store, target, version)
        if items is None:
            raise errors.expired("The resourceVersion for the provided list is too old.")
        return _cut(items, predicate, limit, version)
    by_field = request.query.get("fieldSelector", "")
    only = selectors.name_in(by_field)
    if only is not None and target.namespace:
        found = store.get(target.resource.key, target.namespace, only)
        items = [((target.namespace, only), found)] if found else []
    else:
        items = store.items(target.resource.key, target.namespace)
        if text := selectors.bytes_in(by_field):
            items = [item for item in items if text in item[1].raw]
    return _cut(items, predicate, limit, store.version)


async def _version_asked(store: Store, request: web.Request) -> int:
    text = request.query.get("resourceVersion", "")
    if text in ("", "0"):
        return 0
    try:
        version = parse_version(text)
    except ValueError as error:
        raise errors.bad_request(f"invalid resource version: {error}") from None
    if version > store.version:
        await asyncio.sleep(FUTURE_WAIT)
        if version > store.version:
            raise too_large(version, store.version)
    return version


def too_large(version: int, current: int) -> ApiError:
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {version}, current: {current}"
    return ApiError(504, "Timeout", message, details, {"Retry-After": "1"})


def _snapshot(store: Store, target: Target, version: int) -> Items | None:
    """The objects as they were at `version`, or None when that is forgotten."""
    current = store.items(target.resource.key, target.namespace)
    if version in (0, store.version):
        return current
    later = store.since(target.resource.key, version)
    if later is None:
        return None
    found = dict(current)
    for event in reversed(later):
        if target.namespace in ("", event.key[0]):
            if event.before is None:
                found.pop(event.key, None)
            else:
                found[event.key] = event.before
    return sorted(found.items())


def _cut(items: Items, predicate: selectors.Predicate | None, limit: int, version: int) -> Page:
    if predicate is not None:
        items = [item for item in items if predicate(item[1].obj)]
    if limit <= 0 or len(items) <= limit:
        return Page([stored for _, stored in items], version)
    kept, rest = items[:limit], len(items) - limit
    token = _encode(version, kept[-1][0])
    return Page([stored for _, stored in kept], version, token, rest if predicate is None else None)


def _encode(version: int, last: Key) -> str:
    content = {"v": "meta.k8s.io/v1", "rv": version, "start": "/".join(last) + "\0"}
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def _decode(token: str) -> tuple[int, Key]:
    try:
        content = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, _, name = content["start"].rstrip("\0").rpartition("/")
        return max(int(content["rv"]), 0), (namespace, name)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        why = "invalid character '\\u0081' looking for beginning of value"
        raise errors.bad_request(f"invalid continue token: continue key is not valid: {why}") from None


def _token_expired(store: Store, start: Key) -> ApiError:
    error = errors.expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
        "the results. Continuing with the provided token results in an inconsistent list - objects that were "
        "created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )
    error.continue_token = _encode(0, start)
    return error
