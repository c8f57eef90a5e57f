"""The synchronous face over the official client. Only JSON passes here: typed models cost 10 to 20 times the CPU."""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
import urllib3
from django.utils.translation import gettext as _
from kubernetes.client import ApiClient, Configuration

from .answers import read_object, refusal, status_refusal
from .base import (
    Manifest,
    NotFound,
    ObjectList,
    ObjectRef,
    PodUsage,
    Propagation,
    ServerInfo,
    Unavailable,
    VersionExpired,
    WatchEvent,
)
from .kubeconfig import Kubeconfig, parse
from .usage import METRICS_API, read_usage
from .wire import CONNECT_SECONDS, KEEPALIVE, PAGE, READ_SECONDS, WATCH_SLACK_SECONDS, segment, selection, watching

POOL = 16
FIELD_MANAGER = "cube"


class KubernetesGateway:
    """One API server, reached with one kubeconfig. Safe to share between threads."""

    def __init__(self, kubeconfig: str) -> None:
        config = parse(kubeconfig)
        self._headers = {**config.headers, "Accept": "application/json, */*", "User-Agent": "cube"}
        self._server = config.server
        self._pool = _pool(config)
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    def server_info(self) -> ServerInfo:
        version = self._json("GET", "/version").get("gitVersion")
        if not isinstance(version, str):
            raise Unavailable(_("What answers there does not speak the Kubernetes API."))
        core = self._json("GET", "/api").get("versions") or []
        groups = self._json("GET", "/apis").get("groups") or []
        named = [v["groupVersion"] for group in groups for v in group.get("versions") or []]
        return ServerInfo(version, tuple(sorted({*core, *named})))

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        meta = manifest["metadata"]
        path = self._path(manifest["apiVersion"], manifest["kind"], meta.get("namespace", ""))
        return self._json("POST", path, query={"dryRun": "All"} if dry_run else {}, body=manifest)

    def apply(self, manifest: Manifest) -> Manifest:
        return self._json(
            "PATCH",
            self._path_of(ObjectRef.of(manifest)),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=manifest,
            content_type="application/apply-patch+yaml",  # JSON is YAML
        )

    def get(self, ref: ObjectRef) -> Manifest:
        return self._json("GET", self._path_of(ref))

    def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        field_selector: str = "",
    ) -> ObjectList:
        path = self._path(api_version, kind, namespace)
        query = selection(labels) | ({"fieldSelector": field_selector} if field_selector else {})
        try:
            return self._list(path, query | {"limit": str(PAGE)}, api_version, kind)
        except VersionExpired:  # The list changed too much between two pages; in one piece it cannot.
            return self._list(path, query, api_version, kind)

    def delete(
        self, ref: ObjectRef, *, grace_seconds: int | None = None, propagation: Propagation = "Background"
    ) -> None:
        options: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        path = self._path_of(ref)
        try:
            self._json("DELETE", path, body=options)
        except NotFound:
            return

    def pod_usage(self, *, labels: Mapping[str, str]) -> Sequence[PodUsage]:
        path = f"{_root(METRICS_API)}/pods"
        return tuple(read_usage(self._json("GET", path, query=selection(labels)).get("items") or []))

    def read_log(self, *, namespace: str, pod: str, container: str, limit_bytes: int) -> bytes:
        path = f"/api/v1/namespaces/{segment(namespace)}/pods/{segment(pod)}/log"
        response = self._send("GET", path, query={"container": container, "limitBytes": str(limit_bytes)})
        try:
            return bytes(response.read(limit_bytes))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(_explain(error)) from error
        finally:
            response.release_conn()

    def watch(
        self,
        api_version: str,
        kind: str,
        *,
        resource_version: str,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        timeout_seconds: int = 300,
    ) -> Iterator[WatchEvent]:
        query = selection(labels) | watching(resource_version, timeout_seconds)
        path = self._path(api_version, kind, namespace)
        response = self._send("GET", path, query=query, read_seconds=timeout_seconds + WATCH_SLACK_SECONDS)
        try:
            for line in _lines(response):
                yield read_event(line)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(_explain(error)) from error
        finally:
            response.close()

    def _list(self, path: str, query: dict[str, str], api_version: str, kind: str) -> ObjectList:
        items: list[Manifest] = []
        page: dict[str, str] = {}
        while True:
            answer = self._json("GET", path, query=query | page)
            # Items of a list come without these two, unlike objects of a watch.
            items += [{"apiVersion": api_version, "kind": kind, **item} for item in answer.get("items") or []]
            meta = answer.get("metadata") or {}
            if not meta.get("continue"):
                return ObjectList(items, str(meta.get("resourceVersion", "")))
            page = {"continue": meta["continue"]}

    def _path_of(self, ref: ObjectRef) -> str:
        return f"{self._path(ref.api_version, ref.kind, ref.namespace)}/{segment(ref.name)}"

    def _path(self, api_version: str, kind: str, namespace: str) -> str:
        resource, namespaced = self._resource(api_version, kind)
        scope = f"/namespaces/{segment(namespace)}" if namespaced and namespace else ""
        return f"{_root(api_version)}{scope}/{resource}"

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        """Plural name and whether it lives in namespaces. A kind that is missing may have been installed meanwhile."""
        if kind not in self._resources.get(api_version, {}):
            found = self._json("GET", _root(api_version)).get("resources") or []
            self._resources[api_version] = {
                r["kind"]: (r["name"], bool(r["namespaced"])) for r in found if "/" not in r["name"]
            }
        try:
            return self._resources[api_version][kind]
        except KeyError:
            message = _("The cluster does not know the kind %(kind)s of %(version)s.")
            raise NotFound(message % {"kind": kind, "version": api_version}, status=404, reason="NotFound") from None

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        response = self._send(method, path, query=query, body=body, content_type=content_type)
        try:
            return read_object(response.read())
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(_explain(error)) from error
        finally:
            response.release_conn()

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        read_seconds: float = READ_SECONDS,
    ) -> Any:
        """The open response of a 2xx answer; every other answer is raised as what it means."""
        try:
            response = self._pool.request(
                method,
                f"{self._server}{path}?{urlencode(query)}" if query else self._server + path,
                headers=self._headers | ({"Content-Type": content_type} if body is not None else {}),
                body=None if body is None else orjson.dumps(body),
                preload_content=False,
                redirect=False,  # Credentials go to the server that was registered and nowhere else.
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
            )
            if 200 <= response.status < 300:
                return response
            said = response.read()
            response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(_explain(error)) from error
        raise refusal(response.status, said)


def read_event(line: bytes) -> WatchEvent:
    """One line of a watch. Raises VersionExpired, or what else an ERROR event says."""
    event = read_object(line)
    obj = event.get("object")
    if event.get("type") == "ERROR":
        raise status_refusal(obj if isinstance(obj, dict) else {"code": 500})
    if event.get("type") not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not isinstance(obj, dict):
        raise Unavailable(_("The watch sent something that is no event."))
    return WatchEvent(event["type"], obj)


def _pool(config: Kubeconfig) -> urllib3.PoolManager:
    """The connection pool as the official client sets it up.

    Its own `request` is left aside: it prints bodies into exceptions, which may hold secrets.
    """
    settings = Configuration()
    settings.host = config.server
    settings.retries = False  # Callers know what may be repeated; redirects are not followed either.
    settings.connection_pool_maxsize = POOL
    settings.socket_options = KEEPALIVE
    settings.verify_ssl = config.verify
    settings.assert_hostname = None if config.verify else False
    settings.tls_server_name = config.server_name or None
    if config.is_loopback:
        settings.proxy = None
    pool: urllib3.PoolManager = ApiClient(settings).rest_client.pool_manager
    if context := config.tls():  # In memory, so that no key stays in a file while connections are made.
        pool.connection_pool_kw["ssl_context"] = context
        pool.connection_pool_kw.pop("ca_certs", None)
    return pool


def _root(api_version: str) -> str:
    return f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"


def _lines(response: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(64 * 1024):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line)
    if rest:
        raise urllib3.exceptions.ProtocolError("the watch ended in the middle of a line")


def _explain(error: Exception) -> str:
    """What a person can do something with: time-outs, TLS, names and refused connections read differently."""
    text = str(error)
    if isinstance(error, ssl.SSLError | urllib3.exceptions.SSLError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return _("The API server's certificate was not accepted: %s") % text[:300]
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return _("The API server's name cannot be resolved.")
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return _("The API server refuses connections: %s") % text[-120:]
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return _("The API server did not answer within %d seconds.") % CONNECT_SECONDS
    if isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError):
        return _("The API server stopped answering.")
    return _("The connection to the API server broke: %s") % text[:300]
