"""`services/NAME:PORT/proxy/PATH`: one HTTP request passed on to a ready endpoint of the service."""

from __future__ import annotations

import random

import aiohttp
from aiohttp import web

from . import errors
from .context import Api
from .request import Target
from .store import Object

# Said between two neighbours, never passed on; the length and coding of the body are told anew.
HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "authorization"}
HOP |= {"content-length", "content-encoding", "accept-encoding"}


async def serve(api: Api, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
    """The answer of the service, or 503 where nobody is ready."""
    scheme, name, port = _named(target.name)
    service = api.objects.find(target.resource, target.namespace, name).obj
    address = _endpoint(api, service, port)
    try:
        return await relay(request, f"{scheme}://{address}")
    except aiohttp.ClientConnectionError as error:
        why = f"error trying to reach service: {error}"
        raise errors.ApiError(503, "ServiceUnavailable", why) from error


async def relay(request: web.Request, base: str) -> web.StreamResponse:
    """The request's path behind `/proxy`, asked of `base`; raises what aiohttp raises when nobody answers there."""
    path = "/" + "".join(request.path.split("/", 8)[8:])  # /api/v1/namespaces/NS/KIND/NAME/proxy/PATH
    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    kept = {key: value for key, value in request.headers.items() if key.lower() not in HOP}
    body = await request.read() or None
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            request.method, f"{base}{path}{query}", headers=kept, data=body, ssl=False, allow_redirects=False
        ) as answer,
    ):
        headers = [(key, value) for key, value in answer.headers.items() if key.lower() not in HOP]
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        async for block in answer.content.iter_any():
            await response.write(block)
        return response


def _named(text: str) -> tuple[str, str, str]:
    """`[scheme:]name[:port]`."""
    parts = text.split(":")
    if len(parts) == 3:
        return parts[0] or "http", parts[1], parts[2]
    return "http", parts[0], parts[1] if len(parts) == 2 else ""


def _endpoint(api: Api, service: Object, port: str) -> str:
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    numbers = {str(known["port"]): known.get("name", "") for known in service["spec"].get("ports") or ()}
    wanted = numbers.get(port, port)
    found = [
        f"{endpoint['addresses'][0]}:{listed['port']}"
        for item in api.store.each("endpointslices.discovery.k8s.io", namespace)
        if (item["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name
        for listed in item.get("ports") or ()
        if wanted in ("", listed.get("name", ""))
        for endpoint in item.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True)
    ]
    if not found:
        text = f'no endpoints available for service "{name}"'
        raise errors.ApiError(503, "ServiceUnavailable", text)
    return random.choice(found)  # noqa: S311 any of them will do
