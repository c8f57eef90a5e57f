"""kubectl port-forward against a whole devcluster, and the SPDY frames that carry it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from apps.devcluster.api import spdy
from apps.devcluster.client import NAMESPACES, PODS, SERVICES, Resource
from tests.devcluster.process import Cluster
from tests.devcluster.test_kubectl import CLIENTS, PYPI

MIB = 1 << 20
PATTERN = hashlib.sha256(b"a body").digest() * (MIB // 32)  # one MiB
SERVER = """
import hashlib, http.server, socket
PATTERN = hashlib.sha256(b"a body").digest() * (1 << 15)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        count, first = int(self.path[1:-1]), self.path[-1].encode()
        self.send_response(200)
        self.end_headers()
        for _ in range(count):
            self.wfile.write(first + PATTERN[1:])
    def do_POST(self):
        found = hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(found)
http.server.ThreadingHTTPServer((socket.gethostname(), 8080), Handler).serve_forever()
"""
# Reads all there is, then answers: an end of input must come through, and the way back must stay open.
COUNTER = """
import socket
with socket.create_server((socket.gethostname(), 8081)) as server:
    while True:
        client, _ = server.accept()
        with client:
            total = 0
            while data := client.recv(65536):
                total += len(data)
            client.sendall(b"%d bytes" % total)
"""
# Takes a connection and never reads from it.
DEAF = """
import socket, time
with socket.create_server((socket.gethostname(), 8082)) as server:
    client, _ = server.accept()
    time.sleep(600)
"""
DEPLOYMENTS = Resource("deployments", "apps/v1", "Deployment")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("forward"))
    running.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
    containers = [
        {"name": name, "image": "python", "command": ["python", "-c", code], "ports": [{"containerPort": port}]}
        for name, code, port in (("web", SERVER, 8080), ("counter", COUNTER, 8081), ("deaf", DEAF, 8082))
    ]
    containers[0]["ports"][0]["name"] = "http"
    containers[0]["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    running.do("create", DEPLOYMENTS, "test", {"metadata": {"name": "web"}, "spec": spec})
    ports = [{"port": 80, "targetPort": "http"}]
    running.do(
        "create", SERVICES, "test", {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
    )
    running.wait(lambda: running.do("get", DEPLOYMENTS, "test", "web")["status"].get("readyReplicas") == 1)
    yield running
    running.end()


class Forward:
    """A running `kubectl port-forward` and the local port it chose."""

    def __init__(self, kubectl: Path, cluster: Cluster, home: Path, *words: str) -> None:
        environment = {**os.environ, "KUBECONFIG": str(cluster.data_dir / "kubeconfig"), "HOME": str(home)}
        self.process = subprocess.Popen(  # noqa: S603 kubectl, our own words
            [str(kubectl), "-n", "test", "port-forward", "--address", "127.0.0.1", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Forwarding from 127.0.0.1:"), line + (self.process.stderr or [""]).read()
        self.port = int(line.split(":")[1].split()[0])

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=30) as answer:
            return answer.read()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)

    def end(self) -> tuple[int, str]:
        """Exit status and what was complained about."""
        self.process.terminate()
        _, told = self.process.communicate(timeout=10)
        return self.process.returncode, told


@pytest.fixture(params=CLIENTS or [None], ids=lambda path: "pypi" if path == PYPI else "machine")
def forward(cluster: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param is None:
        pytest.skip("no kubectl is installed here")
    begun: list[Forward] = []

    def start(*words: str) -> Forward:
        begun.append(Forward(request.param, cluster, tmp_path, *words))
        return begun[-1]

    yield start
    for each in begun:
        each.end()


def body(mib: int, first: bytes) -> bytes:
    return (first + PATTERN[1:]) * mib


def pod_name(cluster: Cluster) -> str:
    return next(pod["metadata"]["name"] for pod in cluster.pods() if pod["metadata"]["labels"].get("app") == "web")


class TestForwarding:
    @pytest.mark.parametrize("what", ["pod", "service", "deployment"])
    def test_two_downloads_at_once_are_byte_exact(self, cluster, forward, what):
        target = {"pod": f"pod/{pod_name(cluster)}", "service": "svc/web", "deployment": "deployment/web"}[what]
        running = forward(target, ":80" if what == "service" else ":8080")

        with ThreadPoolExecutor(2) as both:
            found = list(both.map(running.get, ("8a", "6b")))

        assert found == [body(8, b"a"), body(6, b"b")]
        _, told = running.end()
        assert "error" not in told.lower()

    def test_what_is_uploaded_arrives(self, forward):
        running = forward("svc/web", ":80")
        sent = body(5, b"u")

        request = urllib.request.Request(f"http://127.0.0.1:{running.port}/", data=sent)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 our own server
            assert answer.read().decode() == hashlib.sha256(sent).hexdigest()

    def test_an_end_of_input_passes_and_the_answer_comes_back(self, forward):
        running = forward("deployment/web", ":8081")

        for count in (0, 3 * MIB):  # one after the other: the server takes one at a time
            with running.connect() as door:
                door.sendall(b"x" * count)
                door.shutdown(socket.SHUT_WR)
                assert door.recv(100) == b"%d bytes" % count
                assert door.recv(100) == b""

    def test_a_port_where_nobody_listens_is_told_of(self, cluster, forward):
        name = pod_name(cluster)
        uid = cluster.get(PODS, name)["metadata"]["uid"]
        running = forward(f"pod/{name}", ":9")

        with running.connect() as door:
            assert door.recv(100) == b""

        assert running.process.wait(10) == 1  # As with a real cluster: kubectl ends.
        _, told = running.process.communicate()
        why = "failed to connect to localhost:9: dial tcp4 127.0.0.1:9: connect: connection refused"
        assert f"error forwarding port 9 to pod {name}, uid {uid}: {why}" in told

    def test_a_reader_that_stops_holds_the_server_back(self, cluster, forward):
        running = forward("svc/web", ":80")
        process = psutil.Process(cluster.process.pid)
        with running.connect() as slow:
            before = process.memory_info().rss
            slow.sendall(b"GET /200s HTTP/1.0\r\n\r\n")
            time.sleep(2)

            assert process.memory_info().rss - before < 32 * MIB
            got = 0
            while data := slow.recv(MIB):
                got += len(data)
        assert got > 200 * MIB

    def test_a_killed_client_leaves_nothing_open(self, cluster, forward):
        address = cluster.get(PODS, pod_name(cluster))["status"]["podIP"]
        process = psutil.Process(cluster.process.pid)

        def open_to(port: int) -> int:
            return sum(c.raddr == (address, port) for c in process.net_connections("tcp") if c.status == "ESTABLISHED")

        running = forward("deployment/web", ":8082")
        with running.connect() as door:
            cluster.wait(lambda: open_to(8082) == 1)
            door.settimeout(1)
            with pytest.raises(TimeoutError):  # until every buffer on the way is full
                door.sendall(b"x" * 64 * MIB)
            running.process.kill()
            cluster.wait(lambda: open_to(8082) == 0)


@pytest.mark.skipif(not CLIENTS, reason="no kubectl is installed here")
@pytest.mark.parametrize(
    ("ends", "why"), [(True, "sandbox container is not running"), (False, r"pod not found (\"once_test\")")]
)
def test_a_pod_that_has_gone_is_not_reached_any_more(cluster, tmp_path, ends, why):
    command = ["sleep", "3" if ends else "600"]
    container = {"name": "main", "image": "busybox", "command": command}
    spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    cluster.do("create", PODS, "test", {"metadata": {"name": "once"}, "spec": spec})
    cluster.wait(lambda: cluster.get(PODS, "once")["status"].get("phase") == "Running")
    running = Forward(CLIENTS[0], cluster, tmp_path, "pod/once", ":8080")
    if ends:
        cluster.wait(lambda: cluster.get(PODS, "once")["status"].get("phase") == "Succeeded")
    else:
        cluster.do("delete", PODS, "test", "once", {"gracePeriodSeconds": 0})
        cluster.wait(lambda: cluster.get(PODS, "once") is None)

    with running.connect() as door:
        assert door.recv(100) == b""

    assert running.process.wait(10) == 1
    assert why in running.process.communicate()[1]
    cluster.do("delete", PODS, "test", "once", {"gracePeriodSeconds": 0})
    cluster.wait(lambda: cluster.get(PODS, "once") is None)


# -- frames


class Peer:
    """The client's side of a connection, in memory."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.streams: list[spdy.Stream] = []
        self.connection = spdy.Connection(self._take, self._opened)
        self._pack = zlib.compressobj(zdict=spdy.DICTIONARY)

    async def _take(self, data: bytes) -> None:
        self.sent.append(data)

    def _opened(self, stream: spdy.Stream) -> None:
        if stream.headers.get("streamtype") == "unknown":
            raise ValueError
        self.streams.append(stream)

    def syn(self, number: int, *, flags: int = 0, **headers: str) -> bytes:
        texts = [text.encode() for pair in headers.items() for text in pair]
        plain = struct.pack(">I", len(headers)) + b"".join(struct.pack(">I", len(text)) + text for text in texts)
        packed = self._pack.compress(plain) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack(">IIH", number, 0, 0) + packed, flags)


def control(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">HHI", 0x8003, kind, flags << 24 | len(payload)) + payload


def data(number: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", number, flags << 24 | len(payload)) + payload


class TestFrames:
    def test_the_dictionary_is_the_standards(self):
        assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)

    @pytest.mark.asyncio
    async def test_are_understood_however_they_are_cut(self):
        peer = Peer()
        whole = peer.syn(1, streamtype="error", port="80") + peer.syn(3, streamtype="data", port="80")
        whole += data(3, b"hello") + data(3, b"", 1)

        for number in range(len(whole)):
            await peer.connection.feed(whole[number : number + 1])

        assert [stream.headers for stream in peer.streams] == [
            {"streamtype": "error", "port": "80"},
            {"streamtype": "data", "port": "80"},
        ]
        assert [await peer.streams[1].read(), await peer.streams[1].read()] == [b"hello", b""]
        assert [frame[:4] for frame in peer.sent] == [b"\x80\x03\x00\x02"] * 2
        assert zlib.decompressobj(zdict=spdy.DICTIONARY).decompress(peer.sent[0][12:]) == b"\0\0\0\0"

    @pytest.mark.asyncio
    async def test_a_stream_is_forgotten_once_both_sides_have_closed(self):
        peer = Peer()
        await peer.connection.feed(peer.syn(1))
        await peer.streams[0].write(b"bye")
        await peer.streams[0].close()
        assert list(peer.connection.streams) == [1]

        await peer.connection.feed(data(1, b"", 1))

        assert peer.sent[1:] == [data(1, b"bye"), data(1, b"", 1)]
        assert peer.connection.streams == {}
        with pytest.raises(spdy.Reset):
            await peer.streams[0].write(b"more")

    @pytest.mark.asyncio
    async def test_a_reset_wakes_the_reader(self):
        peer = Peer()
        await peer.connection.feed(peer.syn(1))
        reading = asyncio.create_task(peer.streams[0].read())
        await asyncio.sleep(0)

        await peer.connection.feed(control(3, struct.pack(">II", 1, 5)))

        with pytest.raises(spdy.Reset):
            await reading
        assert peer.connection.streams == {}

    @pytest.mark.asyncio
    async def test_pings_come_back_and_what_is_not_needed_is_passed_over(self):
        peer = Peer()
        ping = control(6, struct.pack(">I", 7))

        await peer.connection.feed(ping + control(6, struct.pack(">I", 2)))
        await peer.connection.feed(control(4, struct.pack(">I", 0)) + control(9, struct.pack(">II", 1, 100)))

        assert peer.sent == [ping]

    @pytest.mark.asyncio
    async def test_refused_streams_are_reset_and_the_headers_go_on(self):
        peer = Peer()

        await peer.connection.feed(peer.syn(1, streamtype="unknown") + peer.syn(2) + peer.syn(3, port="81"))
        await peer.connection.feed(data(1, b"late") + data(9, b"never opened"))

        resets = [control(3, struct.pack(">II", number, status)) for number, status in ((1, 1), (2, 1), (9, 2))]
        assert [frame for frame in peer.sent if frame[3] == 3] == resets
        assert [stream.headers for stream in peer.streams] == [{"port": "81"}]

    @pytest.mark.asyncio
    async def test_a_full_stream_holds_the_connection_until_it_is_read(self):
        peer = Peer()
        await peer.connection.feed(peer.syn(1))
        block = b"x" * spdy.BACKLOG
        await peer.connection.feed(data(1, block))

        feeding = asyncio.create_task(peer.connection.feed(data(1, b"more")))
        await asyncio.sleep(0.01)
        assert not feeding.done()

        assert await peer.streams[0].read() == block
        await feeding
        assert await peer.streams[0].read() == b"more"

    @pytest.mark.asyncio
    @pytest.mark.parametrize(
        "frame",
        [
            struct.pack(">HHI", 0x8002, 1, 0),
            control(1, struct.pack(">IIH", 1, 0, 0) + b"not packed"),
            control(3, b"\0"),
            control(1, struct.pack(">IIH", 1, 0, 0) + zlib.compress(struct.pack(">I", 1))),
        ],
        ids=["version", "headers", "short", "cut"],
    )
    async def test_nonsense_ends_the_connection(self, frame):
        peer = Peer()

        with pytest.raises(spdy.ProtocolError):
            await peer.connection.feed(frame)

        assert (peer.sent, peer.streams) == ([], [])

    @pytest.mark.asyncio
    async def test_headers_that_swell_are_refused(self):
        peer = Peer()

        with pytest.raises(spdy.ProtocolError, match="too large"):
            await peer.connection.feed(peer.syn(1, streamtype="x" * 200_000))
