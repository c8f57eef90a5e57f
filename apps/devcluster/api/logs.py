"""GET .../pods/NAME/log: the parameters and their refusals are the server's, the bytes are the node's.

Source: pkg/registry/core/pod/strategy.go (LogLocation) and pkg/apis/core/validation (ValidatePodLogOptions).
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

from aiohttp import web

from . import errors
from . import request as asked
from .context import Api
from .errors import Cause
from .node_port import LogUnavailable, NodeUnreachable
from .request import Target
from .store import Object

NOT_ACCEPTABLE = (
    "only the following media types are accepted: "
    "application/json, application/yaml, application/vnd.kubernetes.protobuf"
)


async def serve(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    if request.headers.get("Accept", "*/*").split(";")[0] == "text/plain":
        raise errors.ApiError(406, "NotAcceptable", NOT_ACCEPTABLE)
    options = _options(request, target.name)
    pod = api.objects.find(target.resource, target.namespace, target.name).obj
    container = container_of(pod, target.name, request.query.get("container", ""))
    if not pod["spec"].get("nodeName"):
        return web.Response(status=204)  # Nobody has a log to give yet (recording pod_unschedulable).
    _started(pod, target.name, container)
    if api.node is None:
        raise errors.not_implemented("logs without a node")
    since, previous, follow = options
    tail, limit = _number(request, "tailLines"), _number(request, "limitBytes")
    chunks = api.node.read_log(
        pod=pod, container=container, previous=previous, follow=follow, tail_lines=tail, since=since,
        timestamps=asked.flag(request, "timestamps"), limit_bytes=limit,
    )  # fmt: skip
    response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    try:
        # Headers wait for the first bytes only when nothing is followed: a refusal is still possible until then.
        async for chunk in chunks:
            if not response.prepared:
                await response.prepare(request)
            await response.write(chunk)
    except LogUnavailable as why:
        raise errors.bad_request(str(why)) from None
    except NodeUnreachable as why:
        raise errors.ApiError(500, None, str(why)) from None
    finally:
        with contextlib.suppress(AttributeError, RuntimeError):
            await chunks.aclose()  # type: ignore[attr-defined]
    if not response.prepared:
        await response.prepare(request)
    return response


def _number(request: web.Request, name: str) -> int | None:
    return asked.number(request, name) if request.query.get(name) else None


def _options(request: web.Request, pod: str) -> tuple[datetime | None, bool, bool]:
    causes = []
    seconds, moment = _number(request, "sinceSeconds"), request.query.get("sinceTime")
    tail, limit = _number(request, "tailLines"), _number(request, "limitBytes")
    if tail is not None and tail < 0:
        causes.append(Cause.invalid("tailLines", str(tail), "must be greater than or equal to 0"))
    if limit is not None and limit < 1:
        causes.append(Cause.invalid("limitBytes", str(limit), "must be greater than 0"))
    if seconds is not None and moment:
        causes.append(Cause.forbidden("[]", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif seconds is not None and seconds < 1:
        causes.append(Cause.invalid("sinceSeconds", str(seconds), "must be greater than 0"))
    if request.query.get("stream", "All") != "All":
        causes.append(Cause.forbidden("stream", "may not be specified"))
    if causes:
        raise errors.invalid("PodLogOptions", "", pod, causes)
    since = datetime.now(UTC) - timedelta(seconds=seconds) if seconds is not None else None
    if moment:
        try:
            since = datetime.fromisoformat(moment).replace(microsecond=0)  # The server hands on whole seconds.
        except ValueError:
            layout = "2006-01-02T15:04:05Z07:00"
            why = f'parsing time "{moment}" as "{layout}": cannot parse "{moment}" as "2006"'
            raise errors.bad_request(why) from None
    return since, asked.flag(request, "previous"), asked.flag(request, "follow")


def container_of(pod: Object, name: str, wanted: str) -> str:
    spec = pod["spec"]
    main = [c["name"] for c in spec.get("containers") or ()]
    init = [c["name"] for c in spec.get("initContainers") or ()]
    if wanted:
        if wanted not in (*main, *init):
            raise errors.bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(main) == 1:
        return str(main[0])
    choices = f"choose one of: [{' '.join(main)}]"
    if init:
        choices += f" or one of the init containers: [{' '.join(init)}]"
    raise errors.bad_request(f"a container name must be specified for pod {name}, {choices}")


def _started(pod: Object, name: str, container: str) -> None:
    """Before there is a process there is no log; the node knows the rest."""
    status = pod.get("status") or {}
    listed = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    found = next((c for c in listed if c["name"] == container), None)
    if found is None:
        return
    waiting = (found.get("state") or {}).get("waiting")
    before = (found.get("lastState") or {}).get("terminated")
    if waiting and not before:
        reason = waiting.get("reason", "")
        why = {
            "ErrImagePull": "trying and failing to pull image",
            "ImagePullBackOff": "trying and failing to pull image",
        }.get(reason, f"waiting to start: {reason}")
        raise errors.bad_request(f'container "{container}" in pod "{name}" is {why}')
