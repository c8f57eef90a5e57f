"""The servers a contract is held against: the fake, the development cluster, and a real one when one is named."""

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.clusters.gateway import Forbidden, Gateway, NotFound, ObjectRef, Streams
from apps.clusters.gateway.client import KubernetesGateway
from apps.clusters.gateway.fake import FakeGateway, FakeStreams
from apps.clusters.gateway.kubeconfig import inline_files
from apps.clusters.gateway.streams import KubernetesStreams


@dataclass
class Server:
    """One implementation of the API under test. `runs_pods`: containers really start there."""

    name: str
    kubeconfig: str
    runs_pods: bool

    def gateway(self) -> Gateway:
        return FakeGateway(self.kubeconfig) if self.name == "fake" else KubernetesGateway(self.kubeconfig)

    def streams(self) -> Streams:
        return FakeStreams(self.kubeconfig) if self.name == "fake" else KubernetesStreams(self.kubeconfig)


@pytest.fixture(autouse=True)
def _fresh_clusters():
    """In place of the suite's: one server lives for the whole module here, the fake one as well."""


@pytest.fixture(scope="module", params=["fake", "devcluster", "real"])
def server(request, tmp_path_factory) -> Iterator[Server]:
    if request.param == "fake":
        yield Server("fake", f"contract-{uuid.uuid4()}", runs_pods=False)
    elif request.param == "devcluster":
        with _devcluster(tmp_path_factory.mktemp("devcluster")) as kubeconfig:
            yield Server("devcluster", kubeconfig, runs_pods=True)
    else:
        path = os.environ.get("CUBE_TEST_KUBECONFIG")
        if not path:
            pytest.skip("CUBE_TEST_KUBECONFIG is not set: no real cluster to hold the contract against")
        text = inline_files(Path(path).read_text(), Path(path).resolve().parent)
        yield Server("real", text, runs_pods=True)


@pytest.fixture(scope="module")
def namespace(server) -> Iterator[str]:
    """A namespace of our own, ready to be used, gone afterwards."""
    gateway, name = server.gateway(), f"cube-contract-{uuid.uuid4().hex[:8]}"
    gateway.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        # The account is there before admission has seen it, so ask for what the tests will do.
        wait_for(lambda: gateway.create(restricted_pod(name), dry_run=True))
        yield name
    finally:
        gateway.delete(ObjectRef("v1", "Namespace", name))


@pytest.fixture
def gateway(server) -> Gateway:
    return server.gateway()


def restricted_pod(namespace, name="probe"):
    """A pod that any namespace takes: a cluster may enforce the restricted standard everywhere."""
    container = {
        "name": "main",
        "image": "registry.invalid/never:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "containers": [container],
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    meta = {"name": name, "namespace": namespace, "labels": {"cube.io/contract": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def wait_for(ask, *, seconds: float = 30.0):
    """Ask again until it answers something true: controllers of a real cluster take their time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := ask():
                return answer
        except (NotFound, Forbidden):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {seconds} s")
        time.sleep(0.1)


@contextlib.contextmanager
def _devcluster(folder: Path) -> Iterator[str]:
    """The whole development cluster as a process; the suite skips, with the reason, where it cannot start."""
    command = [sys.executable, "-m", "apps.devcluster", "start", "--data-dir", str(folder)]
    root = Path(__file__).resolve().parents[2]
    with (folder / "stderr").open("w+") as said:
        process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=said, text=True)  # noqa: S603
        try:
            ready = process.stdout.readline()
            if not ready:
                said.seek(0)
                pytest.skip(f"the development cluster cannot start: {said.read()[-300:]}")
            path = Path(json.loads(ready)["kubeconfig"])
            yield inline_files(path.read_text(), path.parent)
        finally:
            process.terminate()
            process.wait(20)
