"""Questions about access: kinds that are never stored, only answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from . import rbac
from . import request as asked
from .objects import Identity
from .request import Target
from .store import Object
from .tokens import ISSUER

if TYPE_CHECKING:
    from .handlers import Handlers


async def serve(handlers: Handlers, request: web.Request, target: Target) -> web.StreamResponse:
    resource = target.resource
    body, _ = await asked.read_body(request, resource.kind)
    asked.check_envelope(target, body, resource.kind, resource.api_version, handlers.registry)
    spec = body.get("spec") or {}
    who: Identity = request[asked.IDENTITY]
    match resource.plural:
        case "selfsubjectaccessreviews":
            status = _access(handlers, who, spec)
        case "subjectaccessreviews" | "localsubjectaccessreviews":
            status = _access(handlers, Identity(spec.get("user", ""), tuple(spec.get("groups") or ())), spec)
        case "selfsubjectrulesreviews":
            rules = rbac.rules_for(handlers.store, who, spec.get("namespace", ""))
            paths = [{"verbs": ["get"], "nonResourceURLs": [p, f"{p}/*"]} for p in rbac.OPEN_PATHS]
            status, spec = {"resourceRules": rules, "nonResourceRules": paths, "incomplete": False}, {}
        case "tokenreviews":
            status = _token(handlers, spec)
        case _:
            status = {"userInfo": user_info(who)}
    answer: Object = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {}}
    if resource.plural != "selfsubjectreviews":
        answer["spec"] = spec
    else:
        answer["metadata"] = {"creationTimestamp": None}
    answer["status"] = status
    return web.Response(body=orjson.dumps(answer), status=201, content_type="application/json")


def user_info(who: Identity) -> Object:
    info: Object = {"username": who.name, "groups": list(who.groups)}
    if who.uid:
        info["uid"] = who.uid
    return {**info, "extra": who.extra} if who.extra else info


def _access(handlers: Handlers, who: Identity, spec: Object) -> Object:
    wanted: dict[str, Any] = spec.get("resourceAttributes") or {}
    if not wanted:
        path = (spec.get("nonResourceAttributes") or {}).get("path", "")
        return {"allowed": who.is_admin or path.startswith(rbac.OPEN_PATHS)}
    resource = "/".join(filter(None, (wanted.get("resource", ""), wanted.get("subresource", ""))))
    question = rbac.Question(
        wanted.get("verb", ""),
        wanted.get("group", ""),
        resource,
        wanted.get("namespace", ""),
        wanted.get("name", ""),
    )
    reason = rbac.allow(handlers.store, who, question)
    if reason is None:
        return {"allowed": False}
    return {"allowed": True, "reason": reason} if reason else {"allowed": True}


def _token(handlers: Handlers, spec: Object) -> Object:
    audiences = spec.get("audiences") or [ISSUER]
    who = handlers.tokens.identify(spec.get("token", ""), audiences[0])
    if who is None:
        return {"user": {}, "error": "[invalid bearer token, service account token is not valid]"}
    return {"authenticated": True, "user": user_info(who), "audiences": audiences}
