"""Preemption with disruption budgets, and tokens kept in Secrets, in a whole devcluster."""

from __future__ import annotations

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from apps.devcluster.client import BUDGETS, NAMESPACES, PODS, SECRETS, SERVICE_ACCOUNTS, ApiError, Object, Resource
from tests.devcluster.process import Cluster

CLASSES = Resource("priorityclasses", "scheduling.k8s.io/v1", "PriorityClass")
ROLES = Resource("roles", "rbac.authorization.k8s.io/v1", "Role")
BINDINGS = Resource("rolebindings", "rbac.authorization.k8s.io/v1", "RoleBinding")
TYPE = "kubernetes.io/service-account-token"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("policy"), "--pretend-gpus", "2")
    running.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
    yield running
    running.end()


class TestPreemption:
    def run(self, cluster: Cluster, name: str, priority: str, gpus: int = 1, **labels: str) -> None:
        resources = {"limits": {"nvidia.com/gpu": str(gpus)}}
        container = {"name": "main", "image": "x", "command": ["sleep", "600"], "resources": resources}
        spec = {"containers": [container], "priorityClassName": priority, "terminationGracePeriodSeconds": 0}
        cluster.do("create", PODS, "test", {"metadata": {"name": name, "labels": labels}, "spec": spec})

    def running(self, cluster: Cluster, name: str) -> bool:
        pod = cluster.get(PODS, name)
        return bool(pod) and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])

    def test_a_budget_is_asked_and_overruled_where_it_must_be(self, cluster):
        for number, name in enumerate(("low", "middle", "high")):
            cluster.do("create", CLASSES, None, {"metadata": {"name": name}, "value": number + 1})
        self.run(cluster, "kept", "low", app="db")
        self.run(cluster, "other", "middle", app="web")
        cluster.wait(lambda: self.running(cluster, "kept") and self.running(cluster, "other"))
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "db"}}}
        cluster.do("create", BUDGETS, "test", {"metadata": {"name": "db"}, "spec": spec})
        cluster.wait(lambda: (cluster.get(BUDGETS, "db").get("status") or {}).get("expectedPods") == 1)

        self.run(cluster, "first", "high")
        cluster.wait(lambda: self.running(cluster, "first"))
        assert cluster.get(PODS, "other") is None
        assert self.running(cluster, "kept")

        self.run(cluster, "second", "high")
        cluster.wait(lambda: self.running(cluster, "second"))
        assert cluster.get(PODS, "kept") is None

        self.run(cluster, "third", "high")
        cluster.wait(lambda: cluster.get(PODS, "third")["status"].get("conditions"))
        assert cluster.get(PODS, "third")["status"]["conditions"][0]["message"] == (
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: "
            "0/1 nodes are available: 1 No preemption victims found for incoming pod."
        )


class TestAccountTokens:
    @pytest.fixture(autouse=True)
    def account(self, cluster: Cluster) -> Iterator[Object]:
        yield cluster.do("create", SERVICE_ACCOUNTS, "test", {"metadata": {"name": "robot"}})
        cluster.do("delete", SERVICE_ACCOUNTS, "test", "robot")
        cluster.wait(lambda: cluster.get(SECRETS, "robot-token") is None)

    def secret(self, cluster: Cluster, **annotations: str) -> None:
        notes = {f"kubernetes.io/service-account.{key}": value for key, value in annotations.items()}
        body = {"metadata": {"name": "robot-token", "annotations": notes}, "type": TYPE}
        cluster.do("create", SECRETS, "test", body)

    def filled(self, cluster: Cluster) -> dict[str, str]:
        def data() -> Any:
            return (cluster.get(SECRETS, "robot-token") or {}).get("data")

        return {key: base64.b64decode(value).decode() for key, value in cluster.wait(data).items()}

    def status(self, cluster: Cluster, token: str, ca: str) -> int:
        """Of a request for the pods of the namespace with this token."""
        url = f"{cluster.ready['url']}/api/v1/namespaces/test/pods"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 our server
        try:
            with urllib.request.urlopen(request, context=ssl.create_default_context(cadata=ca)) as answer:  # noqa: S310
                return answer.status
        except urllib.error.HTTPError as refusal:
            return refusal.code

    def test_are_filled_in_and_good_until_the_secret_goes(self, cluster, account):
        self.secret(cluster, name="robot")
        data = self.filled(cluster)

        assert sorted(data) == ["ca.crt", "namespace", "token"]
        assert data["namespace"] == "test"
        assert data["ca.crt"] == (cluster.data_dir / "ca.crt").read_text()
        notes = cluster.get(SECRETS, "robot-token")["metadata"]["annotations"]
        assert notes["kubernetes.io/service-account.uid"] == account["metadata"]["uid"]
        token, ca = data["token"], data["ca.crt"]
        assert self.status(cluster, token, ca) == 403
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
        cluster.do("create", ROLES, "test", {"metadata": {"name": "reader"}, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
        subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "test"}
        bound = {"metadata": {"name": "reader"}, "roleRef": role, "subjects": [subject]}
        cluster.do("create", BINDINGS, "test", bound)
        assert self.status(cluster, token, ca) == 200
        assert self.status(cluster, token[:-4] + "AAAA", ca) == 401

        cluster.do("delete", SECRETS, "test", "robot-token")

        assert self.status(cluster, token, ca) == 401

    def test_go_with_their_account(self, cluster):
        self.secret(cluster, name="robot")
        data = self.filled(cluster)

        cluster.do("delete", SERVICE_ACCOUNTS, "test", "robot")

        cluster.wait(lambda: cluster.get(SECRETS, "robot-token") is None)
        assert self.status(cluster, data["token"], data["ca.crt"]) == 401

    @pytest.mark.parametrize("annotations", [{"name": "nobody"}, {"name": "robot", "uid": "of-another"}])
    def test_without_such_an_account_are_deleted(self, cluster, annotations):
        self.secret(cluster, **annotations)

        cluster.wait(lambda: cluster.get(SECRETS, "robot-token") is None)

    def test_must_name_an_account(self, cluster):
        with pytest.raises(
            ApiError, match=r"metadata.annotations\[kubernetes.io/service-account.name\]: Required value"
        ):
            self.secret(cluster)

        assert cluster.get(SECRETS, "robot-token") is None
