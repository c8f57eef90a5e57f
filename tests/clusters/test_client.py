"""What only a misbehaving server shows: errors, broken streams, redirects, silence."""

import json
import socket
import ssl
import tempfile
import threading
from datetime import UTC, datetime

import pytest

from apps.clusters.gateway import (
    AlreadyExists,
    Conflict,
    Forbidden,
    GatewayError,
    Invalid,
    NotFound,
    ObjectRef,
    PodUsage,
    Unavailable,
    VersionExpired,
    client,
)
from apps.clusters.gateway.client import KubernetesGateway
from apps.clusters.gateway.execution import exit_code
from apps.clusters.gateway.streams import KubernetesStreams

from .kubeconfigs import kubeconfig
from .scripted import ScriptedServer, good, lines, status
from .test_kubeconfig import b64, identity

POD = ObjectRef("v1", "Pod", "p", "ns")
PATH = "/api/v1/namespaces/ns/pods/p"
LOG = f"{PATH}/log"
MANIFEST = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns"}}


@pytest.fixture
def server():
    made = ScriptedServer()
    yield made
    made.close()


@pytest.fixture
def gateway(server):
    return KubernetesGateway(server.kubeconfig)


class TestPodUsage:
    API = "/apis/metrics.k8s.io/v1beta1/pods"

    def test_adds_up_containers_in_the_quantities_of_metrics_server(self, server, gateway):
        server.answers[self.API] = good({"items": [measured("p", ("156340245n", "21636Ki"), ("1", "1Mi"))]})

        (used,) = gateway.pod_usage(labels={"a": "b", "c": "d"})

        assert used == PodUsage("ns", "p", {"a": "b"}, datetime(2026, 11, 24, 2, tzinfo=UTC), 1156, 23_203_840)
        assert server.requests[-1][2] == {"labelSelector": "a=b,c=d"}

    def test_what_cannot_be_read_costs_its_neighbours_nothing(self, server, gateway):
        late = {**measured("late", ("1", "1Mi")), "timestamp": None}
        odd = [measured("odd", ("much", "1Mi")), measured("huge", ("1", "9999999Pi")), late, {"metadata": {}}]
        server.answers[self.API] = good({"items": [*odd, measured("p", ("0", "0"))]})

        assert [used.name for used in gateway.pod_usage(labels={})] == ["p"]

    def test_a_cluster_without_metrics_server_says_so_in_one_answer(self, server, gateway):
        server.answers[self.API] = 404, {"Content-Type": "text/plain"}, [b"404 page not found\n"]

        with pytest.raises(NotFound):
            gateway.pod_usage(labels={})

        assert len(server.requests) == 1

    def test_a_metrics_server_that_is_away_may_come_back(self, server, gateway):
        server.answers[self.API] = status(503, "ServiceUnavailable")

        with pytest.raises(Unavailable):
            gateway.pod_usage(labels={})


def measured(name, *containers):
    """PodMetrics of containers given as (cpu, memory)."""
    return {
        "metadata": {"name": name, "namespace": "ns", "labels": {"a": "b"}},
        "timestamp": "2026-11-24T02:00:00Z",
        "window": "15.04s",
        "containers": [{"name": f"c{n}", "usage": {"cpu": c, "memory": m}} for n, (c, m) in enumerate(containers)],
    }


def html(code):
    return code, {"Content-Type": "text/html"}, [b"<html>Bad gateway</html>"]


class TestErrors:
    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (status(400, "BadRequest"), Invalid),
            (status(401, "Unauthorized"), Forbidden),
            (status(403, "Forbidden", "exceeded quota: q"), Forbidden),
            (status(404, "NotFound"), NotFound),
            (status(409, "AlreadyExists"), AlreadyExists),
            (status(409, "Conflict"), Conflict),
            (status(410, "Expired"), VersionExpired),
            (status(413, "RequestEntityTooLarge"), Invalid),
            (status(422, "Invalid"), Invalid),
            (status(429, "TooManyRequests"), Unavailable),
            (status(500, "InternalError"), Unavailable),
            (status(500, "", "failed to create typed patch object: .bogus: field not declared"), Invalid),
            (status(503, "ServiceUnavailable"), Unavailable),
            (html(502), Unavailable),
            (status(405, "MethodNotAllowed"), GatewayError),
        ],
    )
    def test_mean_what_the_server_said(self, server, gateway, answer, kind):
        server.answers[PATH] = answer

        with pytest.raises(GatewayError) as refused:
            gateway.get(POD)

        assert type(refused.value) is kind
        assert refused.value.status == answer[0]

    def test_causes_name_the_fields(self, server, gateway):
        causes = [{"field": "spec.containers", "message": "Required value", "reason": "FieldValueRequired"}]
        server.answers["/api/v1/namespaces/ns/pods"] = status(422, "Invalid", "Pod is invalid", causes=causes)

        with pytest.raises(Invalid, match="Pod is invalid") as refused:
            gateway.create(MANIFEST)

        assert refused.value.causes == (("spec.containers", "Required value"),)
        assert refused.value.reason == "Invalid"

    def test_a_server_that_is_no_kubernetes(self, server, gateway):
        server.answers |= {path: (200, {}, [b"<html>"]) for path in ("/version", PATH)}

        for ask in (gateway.server_info, lambda: gateway.get(POD)):
            with pytest.raises(Unavailable, match="does not speak the Kubernetes API"):
                ask()

    def test_a_redirect_is_not_followed(self, server, gateway):
        server.answers[PATH] = 302, {"Location": f"{server.url}/stolen"}, [b""]

        with pytest.raises(GatewayError):
            gateway.get(POD)

        assert "/stolen" not in [path for _, path, *_ in server.requests]


class TestUnreachable:
    def test_nobody_listens(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"

        with pytest.raises(Unavailable, match="refuses connections"):
            KubernetesGateway(kubeconfig(server=url)).server_info()

    def test_a_name_nobody_knows(self):
        with pytest.raises(Unavailable):
            KubernetesGateway(kubeconfig(server="https://nowhere.invalid:6443")).server_info()

    def test_silence(self, monkeypatch):
        monkeypatch.setattr(client, "READ_SECONDS", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"http://127.0.0.1:{mute.getsockname()[1]}"
            gateway = KubernetesGateway(kubeconfig(server=url))

            with pytest.raises(Unavailable):
                gateway._send("GET", "/version", read_seconds=0.1)

    def test_a_certificate_that_is_not_the_clusters(self):
        certificate, key = identity()
        other, _key = identity()
        with tls_server(certificate, key) as url:
            config = kubeconfig(server=url, cluster={"certificate-authority-data": b64(other)})

            with pytest.raises(Unavailable, match="certificate was not accepted"):
                KubernetesGateway(config).server_info()


class TestRequests:
    def test_credentials_and_apply_as_the_api_wants_them(self, server, gateway):
        server.answers[PATH] = good(MANIFEST)

        gateway.apply(MANIFEST)

        method, path, query, headers, body = server.requests[-1]
        assert (method, path, query) == ("PATCH", PATH, {"fieldManager": "cube", "force": "true"})
        assert headers["Content-Type"] == "application/apply-patch+yaml"
        assert headers["Authorization"] == "Bearer s3cret-token"
        assert json.loads(body) == MANIFEST

    def test_discovery_is_asked_once(self, server, gateway):
        server.answers[PATH] = good(MANIFEST)

        for _ in range(3):
            gateway.get(POD)

        assert [path for _, path, *_ in server.requests].count("/api/v1") == 1

    def test_deletion_says_how(self, server, gateway):
        server.answers[PATH] = good({"kind": "Status"})

        gateway.delete(POD, grace_seconds=0, propagation="Foreground")

        assert json.loads(server.requests[-1][4]) == {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Foreground",
            "gracePeriodSeconds": 0,
        }

    def test_pages_are_put_together(self, server, gateway):
        def page(name, more):
            return good(
                {"metadata": {"resourceVersion": "7", "continue": more}, "items": [{"metadata": {"name": name}}]}
            )

        server.answers["/api/v1/pods"] = [page("a", "next"), page("b", "")]

        found = gateway.list("v1", "Pod", labels={"x": "y"})

        assert [(o["kind"], o["metadata"]["name"]) for o in found.items] == [("Pod", "a"), ("Pod", "b")]
        assert found.resource_version == "7"
        assert [query.get("continue") for _, path, query, *_ in server.requests if path == "/api/v1/pods"] == [
            None,
            "next",
        ]

    def test_a_list_that_changed_between_pages_is_read_in_one_piece(self, server, gateway):
        first = good({"metadata": {"continue": "old"}, "items": [{"metadata": {"name": "a"}}]})
        whole = good({"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b"}}]})
        server.answers["/api/v1/pods"] = [first, status(410, "Expired"), whole]

        found = gateway.list("v1", "Pod")

        assert [o["metadata"]["name"] for o in found.items] == ["b"]

    def test_a_log_without_timestamps(self, server, gateway):
        server.answers[LOG] = 200, {"Content-Type": "text/plain"}, [b"one\ntwo\n"]

        assert gateway.read_log(namespace="ns", pod="p", container="main", limit_bytes=5) == b"one\nt"
        assert server.requests[-1][2] == {"container": "main", "limitBytes": "5"}


def event(kind, version, **meta):
    return {"type": kind, "object": {"metadata": {"resourceVersion": version, **meta}}}


class TestWatch:
    def watch(self, gateway):
        return gateway.watch("v1", "Pod", resource_version="1", timeout_seconds=2)

    def test_events_however_they_are_cut(self, server, gateway):
        text = b"".join(json.dumps(event("MODIFIED", str(n))).encode() + b"\n" for n in range(3))
        server.answers["/api/v1/pods"] = lines(text[:10], text[10:50], text[50:])

        events = list(self.watch(gateway))

        assert [e.object["metadata"]["resourceVersion"] for e in events] == ["0", "1", "2"]
        assert server.requests[-1][2]["allowWatchBookmarks"] == "true"

    def test_an_error_event_of_410(self, server, gateway):
        gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
        server.answers["/api/v1/pods"] = lines(event("ADDED", "2"), gone)
        found = self.watch(gateway)

        assert next(found).type == "ADDED"
        with pytest.raises(VersionExpired, match="too old"):
            next(found)

    @pytest.mark.parametrize("rest", [[], [b'{"type": "ADD']])
    def test_a_connection_that_breaks(self, server, gateway, rest):
        server.answers["/api/v1/pods"] = lines(event("ADDED", "2"), *rest, then_break=True)
        found = self.watch(gateway)

        assert next(found).type == "ADDED"
        with pytest.raises(Unavailable):
            next(found)

    def test_half_a_line_is_no_event(self, server, gateway):
        server.answers["/api/v1/pods"] = lines(event("ADDED", "2"), b'{"type": "ADD')

        with pytest.raises(Unavailable):
            list(self.watch(gateway))


class TestStreams:
    async def read(self, server, **options):
        streams = KubernetesStreams(server.kubeconfig)
        try:
            return [chunk async for chunk in streams.follow_log(namespace="ns", pod="p", container="main", **options)]
        finally:
            await streams.close()

    async def test_a_log_comes_as_raw_bytes(self, server):
        server.answers[LOG] = lines(b"2026-01-01T00:00:00.000000001Z one\n", b"\xff\x00\n")

        chunks = await self.read(server, since_time="2026-01-01T00:00:00Z")

        assert b"".join(chunks) == b"2026-01-01T00:00:00.000000001Z one\n\xff\x00\n"
        assert server.requests[-1][2] == {
            "container": "main",
            "timestamps": "true",
            "follow": "true",
            "sinceTime": "2026-01-01T00:00:00Z",
        }
        assert server.requests[-1][3]["Authorization"] == "Bearer s3cret-token"

    async def test_the_log_before_a_restart(self, server):
        server.answers[LOG] = lines(b"x\n")

        await self.read(server, previous=True, follow=False)

        assert server.requests[-1][2] == {"container": "main", "timestamps": "true", "previous": "true"}

    async def test_no_content_is_an_empty_log(self, server):
        server.answers[LOG] = 204, {}, []

        assert await self.read(server) == []

    async def test_a_connection_that_breaks_is_said(self, server):
        server.answers[LOG] = lines(b"one\n", then_break=True)

        with pytest.raises(Unavailable):
            await self.read(server)

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (status(404), NotFound),
            (status(400, "BadRequest"), Invalid),
            (status(403), Forbidden),
            (html(502), Unavailable),
        ],
    )
    async def test_refusals(self, server, answer, kind):
        server.answers[LOG] = answer

        with pytest.raises(kind):
            await self.read(server)

    async def test_pods_through_a_break_and_a_410(self, server, monkeypatch):
        monkeypatch.setattr("apps.clusters.gateway.streams.back_off", lambda failures: 0)
        gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
        server.answers["/api/v1/pods"] = [
            good(
                {
                    "metadata": {"resourceVersion": "5"},
                    "items": [{"metadata": {"uid": "a"}}, {"metadata": {"uid": "b"}}],
                }
            ),
            lines(event("MODIFIED", "6", uid="a"), event("BOOKMARK", "8"), then_break=True),
            status(503),
            lines(gone),
            good({"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"uid": "b"}}]}),
        ]
        streams = KubernetesStreams(server.kubeconfig)
        seen = []

        async for found in streams.pod_events(labels={"x": "y"}):
            seen.append((found.type, found.object["metadata"]["uid"]))
            if len(seen) == 5:
                break

        await streams.close()
        assert seen == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b")]
        asked = [q.get("resourceVersion") for _, path, q, *_ in server.requests if path == "/api/v1/pods"]
        assert asked == [None, "5", "8", "8", None]


class tls_server:  # noqa: N801  Reads as a function: `with tls_server(…) as url`.
    """Answers TLS handshakes with a certificate, nothing more."""

    def __init__(self, certificate, key):
        self.pem = f"{certificate}\n{key}"

    def __enter__(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(self.pem)
            file.flush()
            context.load_cert_chain(file.name)
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, args=(context,), daemon=True).start()
        return f"https://127.0.0.1:{self.socket.getsockname()[1]}"

    def serve(self, context):
        try:
            peer, _ = self.socket.accept()
            context.wrap_socket(peer, server_side=True).close()
        except OSError:
            pass

    def __exit__(self, *_):
        self.socket.close()


class TestNul:
    """A program may end its log with NUL bytes, which come as its pod's message; PostgreSQL keeps none."""

    def test_is_replaced_in_objects(self):
        body = rb'{"metadata":{"name":"p"},"status":{"message":"a\u0000b","list":["\u0000"],"kept":"\\u0000"}}'

        pod = client.read_object(body)

        assert pod["status"] == {"message": "a\ufffdb", "list": ["\ufffd"], "kept": "\\u0000"}

    def test_is_replaced_in_refusals(self):
        assert str(client.refusal(422, rb'{"kind":"Status","code":422,"message":"bad\u0000"}')) == "bad\ufffd"


class TestExec:
    path = "/api/v1/namespaces/n/pods/p/exec"

    async def enter(self, server):
        streams = KubernetesStreams(server.kubeconfig)
        try:
            async with streams.exec(namespace="n", pod="p", container="main", command=["sh", "-c", "a b"]):
                pass
        finally:
            await streams.close()

    async def test_a_redirect_is_not_followed(self, server):
        server.answers[self.path] = (302, {"Location": f"{server.url}/elsewhere"}, [b""])

        with pytest.raises(Unavailable):
            await self.enter(server)

        assert [request[1] for request in server.requests] == [self.path]

    async def test_a_refusal_keeps_the_words_of_the_server(self, server):
        server.answers[self.path] = status(403, "Forbidden", "pods is forbidden: no exec for you")

        with pytest.raises(Forbidden, match="no exec for you"):
            await self.enter(server)

    async def test_a_server_in_trouble_may_be_asked_again(self, server):
        server.answers[self.path] = status(503)

        with pytest.raises(Unavailable):
            await self.enter(server)

        assert server.requests[0][2] | {"command": ""} == {
            "container": "main", "stdin": "true", "stdout": "true", "tty": "true", "command": "",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"status": "Success"}, 0),
            ({"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "137"}]}}, 137),
        ],
    )
    def test_the_status_tells_the_exit_code(self, body, code):
        assert exit_code(json.dumps({"kind": "Status", **body}).encode()) == code
        assert exit_code(json.dumps(body).encode()) == code  # v4 leaves the kind out

    @pytest.mark.parametrize("body", [b"", b"[]", b"no json", b'{"status":"Failure","message":"no such file"}'])
    def test_any_other_status_is_a_program_that_never_began(self, body):
        with pytest.raises(Invalid):
            exit_code(body)
