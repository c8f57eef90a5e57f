"""kubectl against a whole devcluster, unchanged: the one from PyPI and, where it is another one, the machine's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.devcluster.process import Cluster

PYPI = Path(sys.executable).with_name("kubectl")
MACHINE = Path(shutil.which("kubectl") or "")
CLIENTS = [path for path in dict.fromkeys((PYPI, MACHINE)) if path.is_file()]
SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("kubectl"))
    yield running
    running.end()


@pytest.fixture(params=CLIENTS or [None], ids=lambda path: "pypi" if path == PYPI else "machine")
def kubectl(cluster: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kubectl]:
    """One call in a namespace of its own; answers what was printed. `code`: the exit status to expect, None for any."""
    if request.param is None:
        pytest.skip("no kubectl is installed here")
    namespace = f"n{abs(hash(request.node.name)) % 10**9}"
    environment = {**os.environ, "KUBECONFIG": str(cluster.data_dir / "kubeconfig"), "HOME": str(tmp_path)}

    def call(*words: str, given: str = "", code: int | None = 0, **more: str) -> str:
        done = subprocess.run(  # noqa: S603 kubectl, our own words
            [str(request.param), "-n", namespace, *words],
            input=given, capture_output=True, text=True, timeout=60, check=False, env={**environment, **more},
        )  # fmt: skip
        assert code in (None, done.returncode), f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    call("create", "namespace", namespace)
    yield call
    call("delete", "namespace", namespace, "--wait=false")


def pod(name: str, script: str, **labels: str) -> str:
    container = {"name": "main", "image": "busybox", "command": ["sh", "-c", script]}
    spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})


def config_map(**data: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data})


def deployment(image: str = "busybox:1", replicas: int = 2) -> str:
    container = {"name": "main", "image": image, "command": ["sh", "-c", SLEEP]}
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})


def crontab(name: str) -> str:
    part = {"type": "object", "properties": {"n": {"type": "integer"}}}
    fields = {"cronSpec": {"type": "string"}, "parts": {"type": "array", "items": part}}
    spec = {"type": "object", "description": "What is wanted.", "required": ["cronSpec"], "properties": fields}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    group, names = name.partition(".")[2], {"plural": name.partition(".")[0], "kind": "CronTab"}
    return json.dumps(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
        }
    )


class TestReading:
    def test_gets_in_every_form(self, kubectl):
        kubectl("apply", "-f", "-", given=pod("one", "true", team="a"))
        kubectl("wait", "pod/one", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")

        assert "Completed" in kubectl("get", "pods")
        assert "busybox" in kubectl("get", "pod", "one", "-o", "yaml")
        assert kubectl("get", "pod", "one", "-o", "jsonpath={.status.phase}") == "Succeeded"
        assert kubectl("get", "pods", "-l", "team=a", "-o", "name") == "pod/one\n"
        assert "No resources found" in kubectl("get", "pods", "-l", "team=b")
        assert "NODE" in kubectl("get", "pods", "-o", "wide")

    def test_describes_with_events(self, kubectl):
        kubectl("apply", "-f", "-", given=pod("one", "exit 3"))
        kubectl("wait", "pod/one", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s")

        told = kubectl("describe", "pod", "one")

        assert "Exit Code:    3" in told
        assert "Started" in told
        assert "Scheduled" in kubectl("events", "--for", "pod/one")

    def test_says_what_is_missing(self, kubectl):
        assert '(NotFound): pods "none" not found' in kubectl("get", "pod", "none", code=1)

    def test_lists_kinds_and_rights(self, kubectl):
        assert "deployments" in kubectl("api-resources")
        assert kubectl("auth", "can-i", "create", "pods").startswith("yes")
        assert kubectl("auth", "can-i", "create", "pods", "--as=system:serviceaccount:x:y", code=1).startswith("no")

    def test_explains_what_a_kind_is_made_of(self, kubectl):
        containers = kubectl("explain", "pod.spec.containers")
        assert "FIELD: containers <[]Container>" in containers
        assert "  imagePullPolicy\t<string>\n" in containers
        assert "  livenessProbe\t<Probe>\n" in containers

        assert "FIELD: replicas <integer>" in kubectl("explain", "deployment.spec.replicas")
        assert 'field "nosuch" does not exist' in kubectl("explain", "pod.spec.nosuch", code=1)

    def test_explains_a_custom_kind_in_its_definitions_words(self, kubectl):
        name = "crontabs.stable.example.com"
        kubectl("create", "-f", "-", given=crontab(name))
        kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=10s")

        whole, part = kubectl("explain", "crontabs", "--recursive"), kubectl("explain", "crontabs.spec")
        kubectl("delete", "crd", name)

        fields = "    cronSpec\t<string> -required-\n    parts\t<[]Object>\n      n\t<integer>\n"
        assert f"  spec\t<Object>\n{fields}" in whole
        assert "DESCRIPTION:\n    What is wanted.\n" in part

    def test_reads_measured_use(self, kubectl, cluster):
        kubectl("apply", "-f", "-", given=pod("burner", "while :; do :; done"))
        kubectl("wait", "pod/burner", "--for=condition=Ready", "--timeout=30s")

        cluster.wait(lambda: "burner" in kubectl("top", "pod", code=None), 30)  # the first measure takes a moment
        assert "CPU" in kubectl("top", "node")


class TestWriting:
    def test_applies_twice_and_shows_the_difference(self, kubectl):
        assert "created" in kubectl("apply", "-f", "-", given=config_map(a="1"))
        assert "unchanged" in kubectl("apply", "-f", "-", given=config_map(a="1"))

        assert '+  a: "2"' in kubectl("diff", "-f", "-", given=config_map(a="2"), code=1)
        assert "configured" in kubectl("apply", "-f", "-", given=config_map(a="2"))

        assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.a}") == "2"

    def test_applies_on_the_server_and_refuses_what_another_applier_owns(self, kubectl):
        kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", given=config_map(a="1"))

        told = kubectl("apply", "--server-side", "--field-manager=two", "-f", "-", given=config_map(a="2"), code=1)

        assert 'conflict with "one"' in told
        assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.a}") == "1"

    def test_goes_over_from_applying_itself_to_the_server(self, kubectl):
        kubectl("apply", "-f", "-", given=config_map(a="1", b="1"))

        told = kubectl("apply", "--server-side", "-f", "-", given=config_map(a="2"))

        assert "serverside-applied" in told
        shown = json.loads(kubectl("get", "cm", "settings", "-o", "json", "--show-managed-fields"))
        assert shown["data"] == {"a": "2"}
        owners = [(entry["manager"], entry["operation"]) for entry in shown["metadata"]["managedFields"]]
        # kubectl leaves an owner of the annotation in which it remembers what it applied itself.
        assert sorted(owners) == [("kubectl", "Apply"), ("kubectl-last-applied", "Apply")]

    def test_edits(self, kubectl, tmp_path):
        editor = tmp_path / "editor"
        editor.write_text("#!/bin/sh\nsed -i 's/old/new/' \"$1\"\n")
        editor.chmod(0o755)
        kubectl("apply", "-f", "-", given=config_map(a="old"))

        kubectl("edit", "cm", "settings", KUBE_EDITOR=str(editor))

        assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.a}") == "new"

    @pytest.mark.parametrize(
        ("kind", "change"),
        [
            ("merge", '{"data":{"a":"2"}}'),
            ("strategic", '{"data":{"a":"2"}}'),
            ("json", '[{"op":"replace","path":"/data/a","value":"2"}]'),
        ],
    )
    def test_patches(self, kubectl, kind, change):
        kubectl("apply", "-f", "-", given=config_map(a="1"))

        kubectl("patch", "cm", "settings", "--type", kind, "-p", change)

        assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.a}") == "2"

    def test_labels_annotates_and_deletes(self, kubectl):
        kubectl("apply", "-f", "-", given=config_map(a="1"))

        kubectl("label", "cm", "settings", "team=a")
        kubectl("annotate", "cm", "settings", "note=b")
        assert kubectl("get", "cm", "-l", "team=a", "-o", "name") == "configmap/settings\n"
        kubectl("delete", "cm", "settings")

        assert "NotFound" in kubectl("get", "cm", "settings", code=1)

    def test_creates_what_it_has_verbs_for(self, kubectl):
        kubectl("create", "configmap", "made", "--from-literal=a=1")
        kubectl("create", "secret", "generic", "hidden", "--from-literal=k=v")
        kubectl("create", "job", "work", "--image=busybox", "--", "true")

        kubectl("wait", "job/work", "--for=condition=complete", "--timeout=30s")

        assert kubectl("get", "secret", "hidden", "-o", "jsonpath={.data.k}") == "dg=="
        assert kubectl("create", "token", "default").count(".") == 2


class TestRunning:
    def test_follows_a_log_to_its_end(self, kubectl):
        kubectl("apply", "-f", "-", given=pod("one", "for i in 1 2 3; do echo line $i; sleep 0.2; done"))
        kubectl("wait", "pod/one", "--for=jsonpath={.status.containerStatuses[0].started}=true", "--timeout=30s")

        assert kubectl("logs", "-f", "one") == "line 1\nline 2\nline 3\n"

    def test_runs_a_command_in_a_container(self, kubectl):
        kubectl("apply", "-f", "-", given=pod("one", SLEEP))
        kubectl("wait", "pod/one", "--for=condition=Ready", "--timeout=30s")

        assert kubectl("exec", "-i", "one", "--", "cat", given="hello") == "hello"
        assert "exit code 3" in kubectl("exec", "one", "--", "sh", "-c", "exit 3", code=3)

    def test_rolls_out_scales_and_undoes(self, kubectl):
        kubectl("apply", "-f", "-", given=deployment("busybox:1"))
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        kubectl("set", "image", "deployment/web", "main=busybox:2")
        assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        image = "jsonpath={.spec.template.spec.containers[0].image}"
        assert kubectl("get", "deployment", "web", "-o", image) == "busybox:2"

        kubectl("rollout", "undo", "deployment/web")
        kubectl("scale", "deployment/web", "--replicas=1")
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")

        assert kubectl("get", "deployment", "web", "-o", image) == "busybox:1"
        assert kubectl("get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}") == "1"
        assert "REVISION" in kubectl("rollout", "history", "deployment/web")


class TestNodes:
    @pytest.fixture
    def cluster(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        running = Cluster(tmp_path_factory.mktemp("nodes"), "--node", "name=a,cpu=2", "--node", "name=b,cpu=2")
        yield running
        running.end()

    def places(self, kubectl: Kubectl) -> set[str]:
        return set(kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}").split())

    def test_cordons_and_uncordons(self, kubectl, cluster):
        kubectl("cordon", "a")
        kubectl("cordon", "b")

        assert "Ready,SchedulingDisabled" in kubectl("get", "node", "a")
        cluster.wait(lambda: "node.kubernetes.io/unschedulable:NoSchedule" in kubectl("describe", "node", "a"))
        kubectl("apply", "-f", "-", given=pod("one", "true"))
        message = 'jsonpath={.status.conditions[?(@.type=="PodScheduled")].message}'
        told = cluster.wait(lambda: kubectl("get", "pod", "one", "-o", message))
        assert told.startswith("0/2 nodes are available: 2 node(s) were unschedulable.")
        kubectl("uncordon", "b")
        kubectl("wait", "pod/one", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
        assert kubectl("get", "pod", "one", "-o", "jsonpath={.spec.nodeName}") == "b"
        assert kubectl("get", "node", "b", "-o", "jsonpath={.spec}") == "{}"

    def test_drains_as_far_as_budgets_allow(self, kubectl, cluster):
        kubectl("apply", "-f", "-", given=deployment(replicas=3))
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        kubectl("create", "pdb", "web", "--selector=app=web", "--min-available=3")
        cluster.wait(lambda: kubectl("get", "pdb", "web", "-o", "jsonpath={.status.currentHealthy}") == "3")
        assert self.places(kubectl) == {"a", "b"}

        told = kubectl("drain", "a", "--timeout=3s", code=1)
        assert "Cannot evict pod as it would violate the pod's disruption budget." in told
        assert self.places(kubectl) == {"a", "b"}

        kubectl("delete", "pdb", "web")
        assert "node/a drained" in kubectl("drain", "a", "--timeout=30s")

        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        assert self.places(kubectl) == {"b"}

    def test_taints_and_describes(self, kubectl, cluster):
        kubectl("apply", "-f", "-", given=deployment(replicas=3))
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")

        kubectl("taint", "nodes", "a", "drill=now:NoExecute")
        cluster.wait(lambda: self.places(kubectl) == {"b"})

        described = kubectl("describe", "node", "a")
        assert "HolderIdentity:  a" in described
        assert "drill=now:NoExecute" in described
        assert "untainted" in kubectl("taint", "nodes", "a", "drill-")
