"""Questions about access: kinds that are never stored, only answered."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from . import rbac
from . import request as asked
from .call import Identity
from .context import Api
from .present import json_answer
from .request import Target
from .store import Object
from .tokens import ISSUER


async def serve(api: Api, request: web.Request, target: Target) -> web.StreamResponse:
    resource = target.resource
    body, _ = await asked.read_body(request, resource.kind)
    asked.check_envelope(target, body, resource.kind, resource.api_version, api.registry)
    spec = body.get("spec") or {}
    who: Identity = request[asked.IDENTITY]
    match resource.plural:
        case "selfsubjectaccessreviews":
            status = _access(api, who, spec)
        case "subjectaccessreviews" | "localsubjectaccessreviews":
            status = _access(api, Identity(spec.get("user", ""), tuple(spec.get("groups") or ())), spec)
        case "selfsubjectrulesreviews":
            rules = rbac.rules_for(api.store, who, spec.get("namespace", ""))
            paths = [{"verbs": ["get"], "nonResourceURLs": [p, f"{p}/*"]} for p in rbac.OPEN_PATHS]
            status, spec = {"resourceRules": rules, "nonResourceRules": paths, "incomplete": False}, {}
        case "tokenreviews":
            status = _token(api, spec)
        case _:
            status = {"userInfo": user_info(who)}
    answer: Object = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {}}
    if resource.plural != "selfsubjectreviews":
        answer["spec"] = spec
    else:
        answer["metadata"] = {"creationTimestamp": None}
    answer["status"] = status
    return json_answer(answer, 201)


def user_info(who: Identity) -> Object:
    info: Object = {"username": who.name, "groups": list(who.groups)}
    if who.uid:
        info["uid"] = who.uid
    return {**info, "extra": who.extra} if who.extra else info


def _access(api: Api, who: Identity, spec: Object) -> Object:
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
    reason = rbac.allow(api.store, who, question)
    if reason is None:
        return {"allowed": False}
    return {"allowed": True, "reason": reason} if reason else {"allowed": True}


def _token(api: Api, spec: Object) -> Object:
    audiences = spec.get("audiences") or [ISSUER]
    who = api.tokens.identify(spec.get("token", ""), audiences[0])
    if who is None:
        return {"user": {}, "error": "[invalid bearer token, service account token is not valid]"}
    return {"authenticated": True, "user": user_info(who), "audiences": audiences}
