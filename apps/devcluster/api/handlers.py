"""Each verb of the REST API as a handler: read the request, make one call, present the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from . import (
    apply,
    custom,
    discovery,
    errors,
    expiry,
    listing,
    metrics,
    patch,
    present,
    rbac,
    reviews,
    subresources,
    watch,
)
from . import request as asked
from .call import SYSTEM, Call, Identity
from .context import Api
from .errors import Cause
from .gc import GarbageCollector
from .present import json_answer
from .quota import QuotaKeeper
from .request import Target
from .store import Event, Object, Stored

REVIEW_GROUPS = ("authentication.k8s.io", "authorization.k8s.io")
ROOT_CA = "kube-root-ca.crt"
ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them "
    "or set propagationPolicy=Orphan to suppress this warning"
)
OLD_ENDPOINTS = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Handlers:
    def __init__(self, api: Api) -> None:
        self.api, self.node = api, api.node
        self.objects, self.store, self.registry = api.objects, api.store, api.registry

    def start(self) -> list[asyncio.Task[None]]:
        """The loops an API server runs beside its requests."""
        QuotaKeeper(self.store, self.registry)
        custom.Definitions(self.objects)
        loops = (GarbageCollector(self.objects).run(), expiry.run(self.store))
        return [asyncio.create_task(loop) for loop in loops]

    def bootstrap(self, ca: str) -> None:
        """What a new cluster has before anybody asks for anything."""
        namespaces = self.registry.find("", "v1", "namespaces")
        for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
            if self.store.get("namespaces", "", name) is None:
                body = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}
                self.objects.create(namespaces, "", body, Call(SYSTEM))
        self._bootstrap_namespaces(ca)

    def _bootstrap_namespaces(self, ca: str) -> None:
        """Every namespace gets its `default` ServiceAccount and the CA, at once: pods cannot start without them."""
        accounts, maps = (
            self.registry.find("", "v1", "serviceaccounts"),
            self.registry.find("", "v1", "configmaps"),
        )

        def furnish(namespace: Object | None) -> None:
            name = namespace["metadata"]["name"] if namespace else ""
            found = self.store.get("namespaces", "", name)
            if found is None or "deletionTimestamp" in found.obj["metadata"]:
                return  # it went, or began to go, before its turn came
            if self.store.get("serviceaccounts", name, "default") is None:
                account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}}
                self.objects.create(accounts, name, account, Call(SYSTEM))
            if self.store.get("configmaps", name, ROOT_CA) is None:
                content = {
                    "kind": "ConfigMap",
                    "apiVersion": "v1",
                    "metadata": {"name": ROOT_CA},
                    "data": {"ca.crt": ca},
                }
                self.objects.create(maps, name, content, Call(SYSTEM))

        def notice(event: Event) -> None:
            gone = event.type == "DELETED" and event.key[1] in ("default", ROOT_CA)
            if event.resource == "namespaces" and event.type == "ADDED":
                asyncio.get_running_loop().call_soon(furnish, event.now.obj)
            elif gone and event.resource in ("serviceaccounts", "configmaps"):
                namespace = self.store.get("namespaces", "", event.key[0])
                asyncio.get_running_loop().call_soon(furnish, namespace.obj if namespace else None)

        for namespace in self.store.each("namespaces"):
            furnish(namespace)
        self.store.observe(notice)

    async def dispatch(self, request: web.Request) -> web.StreamResponse:
        who: Identity = request[asked.IDENTITY]
        if not discovery.names_objects(request.path):
            rbac.require_path(who, request.method.lower(), request.path)
            return discovery.answer(self.registry, request)
        parts = asked.split_path(request.path)
        verb = self._verb(request, parts)
        if not who.is_admin:
            resource = f"{parts.plural}/{parts.subresource}" if parts.subresource else parts.plural
            # A namespace is its own scope: a Role inside it may grant reading it.
            namespace = parts.namespace or (parts.name if parts.plural == "namespaces" else "")
            rbac.require(self.store, who, rbac.Question(verb, parts.group, resource, namespace, parts.name))
        if parts.group and parts.group not in self.registry.groups():
            return discovery.no_page()
        target = asked.find_target(self.registry, parts)
        if request.method == "HEAD":
            raise errors.method_not_allowed()
        self._check_verb(target, verb)
        if target.resource.group in REVIEW_GROUPS:
            return await reviews.serve(self.api, request, target)
        if target.resource.group == metrics.GROUP:
            return metrics.serve(self.api, request, target)
        if target.subresource:
            served = await subresources.serve(self.api, request, target, verb)
            if served is not None:
                return served
        answer: web.StreamResponse = await getattr(self, verb)(request, target)
        if target.resource.key == "endpoints" and not answer.prepared:
            answer.headers.add("Warning", f'299 - "{OLD_ENDPOINTS}"')
        return answer

    @staticmethod
    def _verb(request: web.Request, target: asked.PathParts) -> str:
        verb = VERBS.get(request.method, "")
        if verb == "get" and not target.name:
            return "watch" if target.watch or asked.flag(request, "watch") else "list"
        if verb == "get" and target.watch:
            return "watch"
        if verb == "delete" and not target.name:
            return "deletecollection"
        return verb

    @staticmethod
    def _check_verb(target: Target, verb: str) -> None:
        if target.subresource:
            sub = target.resource.subresource(target.subresource)
            allowed: tuple[str, ...] = sub.verbs if sub else ()
        else:
            allowed = target.resource.verbs
        if verb not in allowed or (verb == "create" and target.name and not target.subresource):
            raise errors.method_not_allowed()
        if verb in ("update", "patch") and not target.name:
            raise errors.method_not_allowed()

    async def get(self, request: web.Request, target: Target) -> web.StreamResponse:
        presenter = present.choose(request, target.resource)
        stored = self.objects.find(target.resource, target.namespace, target.name)
        return _answer(presenter, stored)

    async def list(self, request: web.Request, target: Target) -> web.StreamResponse:
        presenter = present.choose(request, target.resource)
        page = await listing.page(self.store, request, target)
        return web.Response(body=presenter.many(page), content_type=presenter.content_type)

    async def watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        presenter = present.choose(request, target.resource)
        return await watch.serve(self.store, request, target, presenter)

    async def _sent(self, request: web.Request, target: Target, options: str) -> tuple[Object, Call, Sequence[str]]:
        """The whole object a request brings, and what to warn of."""
        resource = target.resource
        body, raw = await asked.read_body(request, resource.kind)
        call = asked.call_for(request, request[asked.IDENTITY], target, options)
        custom.refuse_other_kind(resource, body)
        asked.check_envelope(target, body, resource.kind, resource.api_version, self.registry)
        obj, warnings = asked.decode(request, target, body, raw)
        asked.check_names(target, obj)
        return obj, call, warnings

    async def create(self, request: web.Request, target: Target) -> web.StreamResponse:
        presenter = present.choose(request, target.resource)
        obj, call, warnings = await self._sent(request, target, "CreateOptions")
        stored = self.objects.create(target.resource, target.namespace, obj, call)
        await self.store.committed()
        return _answer(presenter, stored, 201, warnings)

    async def update(self, request: web.Request, target: Target) -> web.StreamResponse:
        resource, presenter = target.resource, present.choose(request, target.resource)
        obj, call, warnings = await self._sent(request, target, "UpdateOptions")
        custom.refuse_without_version(resource, target.name, obj)
        if resource.key in CREATE_ON_UPDATE and self.store.get(resource.key, target.namespace, target.name) is None:
            stored, status = self.objects.create(resource, target.namespace, obj, call), 201
        else:
            stored = self.objects.update(resource, target.namespace, target.name, lambda _: obj, call)
            status = 200
        await self.store.committed()
        return _answer(presenter, stored, status, warnings)

    async def patch(self, request: web.Request, target: Target) -> web.StreamResponse:
        kind = asked.PATCH_TYPES.get(request.content_type)
        if kind is None:
            raise errors.ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        presenter = present.choose(request, target.resource)
        call = asked.call_for(request, request[asked.IDENTITY], target, "PatchOptions")
        raw = await request.read()
        if kind != "apply" and asked.flag(request, "force"):
            cause = Cause.forbidden("force", "may not be specified for non-apply patch")
            raise errors.invalid_options("PatchOptions", [cause])
        if kind == "apply":
            stored, created, warnings = apply.serve(self.objects, request, target, raw, call)
        else:
            change, created, warnings = patch.prepare(kind, raw, target.resource), False, []

            def changed(obj: Object) -> Object:
                decoded, found = asked.decode(request, target, change(obj), b"")  # the schema also drops nulls
                warnings.extend(found)
                asked.check_names(target, decoded)
                return decoded

            stored = self.objects.update(target.resource, target.namespace, target.name, changed, call)
        await self.store.committed()
        return _answer(presenter, stored, 201 if created else 200, warnings)

    async def delete(self, request: web.Request, target: Target) -> web.StreamResponse:
        options = await asked.delete_options(request)
        call = asked.call_for(request, request[asked.IDENTITY], target, "DeleteOptions")
        stored, gone = self.objects.delete(target.resource, target.namespace, target.name, options, call)
        await self.store.committed()
        presenter = present.choose(request, target.resource)
        if gone and target.resource.key not in RETURNS_OBJECT:
            return json_answer(_deleted(target, stored))
        orphans = target.resource.key == "jobs.batch" and options.policy is None
        return _answer(presenter, stored, warnings=[ORPHANS] if orphans else ())

    async def deletecollection(self, request: web.Request, target: Target) -> web.StreamResponse:
        presenter = present.choose(request, target.resource)
        options = await asked.delete_options(request)
        call = asked.call_for(request, request[asked.IDENTITY], target, "DeleteOptions")
        page = await listing.page(self.store, request, target)
        for stored in page.items:
            metadata = stored.obj["metadata"]
            self.objects.delete(target.resource, metadata.get("namespace", ""), metadata["name"], options, call)
        await self.store.committed()
        return web.Response(body=presenter.many(page), content_type=presenter.content_type)


# Kinds whose PUT may create (AllowCreateOnUpdate in their strategies).
CREATE_ON_UPDATE = frozenset(("leases.coordination.k8s.io", "endpoints", "events"))
# Kinds whose deletion answers with the object itself (ReturnDeletedObject in pkg/registry).
RETURNS_OBJECT = frozenset(("pods", "services", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts"))


def _deleted(target: Target, stored: Stored) -> Object:
    details: dict[str, Any] = {"name": target.name}
    if target.resource.group:
        details["group"] = target.resource.group
    details |= {"kind": target.resource.plural, "uid": stored.obj["metadata"]["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _answer(
    presenter: present.Presenter, stored: Stored, status: int = 200, warnings: Sequence[str] = ()
) -> web.Response:
    response = web.Response(body=presenter.one(stored), status=status, content_type=presenter.content_type)
    for warning in dict.fromkeys(warnings):
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{escaped}"')
    return response
