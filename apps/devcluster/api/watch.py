"""Watches: a stream of JSON lines that begins where the client left off and follows every change.

Source: k8s.io/apiserver/pkg/endpoints/handlers/watch.go and .../storage/cacher.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from typing import Any

import orjson
from aiohttp import web

from . import errors, listing, selectors
from .errors import Cause
from .present import Presenter
from .request import Target, flag, number
from .store import Event, Store, Stored

BOOKMARK_EVERY = 60.0
BACKLOG = 10_000  # a watcher that reads slower than this is cut off and lists again, as the real cacher does


class Slow(Exception):
    """The watcher does not keep up."""


async def serve(store: Store, request: web.Request, target: Target, presenter: Presenter) -> web.StreamResponse:
    predicate = listing.predicate_for(request, target)
    if target.name:
        by_name = selectors.fields(f"metadata.name={target.name}", target.resource.key, "", "")
        predicate = selectors.both(predicate, by_name)
    _check(request)
    start, initial = _start(store, request, target, predicate)
    response = web.StreamResponse(headers={"Content-Type": presenter.watch_type, "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    feed = _Feed(target.namespace, predicate)
    stop = store.subscribe(target.resource.key, feed)
    try:
        if start is not None:
            past = store.since(target.resource.key, start)
            if past is None:
                gone = errors.expired(f"too old resource version: {start} ({store.version})")
                await response.prepare(request)
                await response.write(_line("ERROR", orjson.dumps(gone.status())))
                return response
            for event in past:
                feed(event)
        chunks = [_line("ADDED", presenter.one(stored)) for stored in initial]
        if flag(request, "sendInitialEvents"):
            chunks.append(_bookmark(store, target, presenter, initial_end=True))
        await response.prepare(request)
        if chunks:
            await response.write(b"".join(chunks))
        await _follow(store, request, target, presenter, response, feed)
    except (ConnectionResetError, Slow):
        pass
    finally:
        stop()
    return response


def _check(request: web.Request) -> None:
    match, sends = request.query.get("resourceVersionMatch"), request.query.get("sendInitialEvents")
    causes = []
    if sends is None and match:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(Cause.forbidden("resourceVersionMatch", why))
    if sends is not None and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(Cause.forbidden("resourceVersionMatch", why))
    if causes:
        raise errors.invalid_options("ListOptions", causes)


def _start(
    store: Store, request: web.Request, target: Target, predicate: selectors.Predicate | None
) -> tuple[int | None, list[Stored]]:
    """Where to resume, and the objects to send first as ADDED."""
    text = request.query.get("resourceVersion", "")
    try:
        version = listing.parse_version(text) if text else 0
    except ValueError as error:
        raise errors.ApiError(500, None, str(error)) from None
    if version == 0 or flag(request, "sendInitialEvents"):
        items = store.items(target.resource.key, target.namespace)
        return None, [stored for _, stored in items if predicate is None or predicate(stored.obj)]
    return version, []


class _Feed:
    """Receives changes, keeps those this watcher should see, as the watcher should see them."""

    def __init__(self, namespace: str, predicate: selectors.Predicate | None) -> None:
        self._namespace, self._predicate = namespace, predicate
        self.pending: deque[tuple[str, Stored]] = deque()
        self.wakeup = asyncio.Event()

    def __call__(self, event: Event) -> None:
        if self._namespace and event.key[0] != self._namespace:
            return
        seen = self._seen(event)
        if seen:
            self.pending.append(seen)
            self.wakeup.set()

    def _seen(self, event: Event) -> tuple[str, Stored] | None:
        """An object that enters the selection is ADDED; one that leaves it is DELETED, as it last was inside."""
        if self._predicate is None:
            return event.type, event.now
        was = event.before is not None and self._predicate(event.before.obj)
        if event.type == "DELETED":
            return ("DELETED", event.now) if was else None
        if self._predicate(event.now.obj):
            return "MODIFIED" if was else "ADDED", event.now
        if not was or event.before is None:
            return None
        last = event.before.obj
        obj = {**last, "metadata": {**last["metadata"], "resourceVersion": str(event.version)}}
        return "DELETED", Stored(obj, orjson.dumps(obj), event.version)


async def _follow(
    store: Store,
    request: web.Request,
    target: Target,
    presenter: Presenter,
    response: web.StreamResponse,
    feed: _Feed,
) -> None:
    loop = asyncio.get_running_loop()
    # Without a time-out of the client's the server picks one, so that no watch lives for ever (minRequestTimeout).
    seconds = number(request, "timeoutSeconds") or random.randint(1800, 3600)  # noqa: S311  spreads load, hides nothing
    ends = loop.time() + seconds
    wants_bookmarks = flag(request, "allowWatchBookmarks")
    bookmark_at = min(loop.time() + BOOKMARK_EVERY, ends - 2) if wants_bookmarks else ends
    while (now := loop.time()) < ends:
        if len(feed.pending) > BACKLOG:
            raise Slow
        if feed.pending:
            batch = [_line(kind, presenter.one(stored)) for kind, stored in feed.pending]
            feed.pending.clear()
            await response.write(b"".join(batch))
        if wants_bookmarks and now >= bookmark_at:
            await response.write(_bookmark(store, target, presenter))
            bookmark_at = min(now + BOOKMARK_EVERY, ends - 2) if now < ends - 4 else ends
        feed.wakeup.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(min(ends, bookmark_at) - loop.time(), 0.001)):
                await feed.wakeup.wait()


def _line(kind: str, obj: bytes) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + obj + b"}\n"


def _bookmark(store: Store, target: Target, presenter: Presenter, *, initial_end: bool = False) -> bytes:
    metadata: dict[str, Any] = {"resourceVersion": str(store.version)}
    if initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    resource = target.resource
    obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return _line("BOOKMARK", presenter.one(Stored(obj, orjson.dumps(obj), store.version)))
