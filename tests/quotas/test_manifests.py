"""What holds a project apart, exactly."""

import base64
import json

import kubernetes_validate
import pytest

from apps.quotas.manifests import SecretSpec, Tenancy, for_tenancy, namespace, workspace

TENANCY = Tenancy(
    namespace="cube-vision",
    project="vision",
    secrets=(
        SecretSpec("wandb", is_registry=False, data={"API_KEY": "k", "user": "ü"}),
        SecretSpec("hub", is_registry=True, data={"server": "r.example", "username": "u", "password": "p"}),
    ),
    workspace_size="10Gi",
    workspace_access_mode="ReadWriteMany",
    egress_except=("10.0.0.0/8", "169.254.0.0/16", "fc00::/7"),
)
LABELS = {"app.kubernetes.io/managed-by": "cube", "cube.io/project": "vision"}


def by_name(kind):
    return {m["metadata"]["name"]: m for m in for_tenancy(TENANCY) if m["kind"] == kind}


@pytest.mark.parametrize(
    "manifest",
    [*for_tenancy(TENANCY), workspace(TENANCY), *for_tenancy(Tenancy("cube-a", "a"))],
    ids=lambda m: f"{m['kind']}-{m['metadata']['name']}",
)
def test_every_manifest_is_what_kubernetes_knows(manifest):
    kubernetes_validate.validate(manifest, "1.36", strict=True)


def test_isolation_comes_first():
    assert [f"{m['kind']}/{m['metadata']['name']}" for m in for_tenancy(TENANCY)] == [
        "Namespace/cube-vision",
        "NetworkPolicy/default-deny",
        "NetworkPolicy/allow-same-namespace",
        "NetworkPolicy/allow-dns",
        "NetworkPolicy/allow-internet",
        "LimitRange/defaults",
        "Secret/secret-wandb",
        "Secret/registry-hub",
        "ServiceAccount/cube-job",
        "Role/cube-job",
        "RoleBinding/cube-job",
    ]


def test_everything_is_labelled_as_the_projects():
    for manifest in [*for_tenancy(TENANCY), workspace(TENANCY)]:
        assert manifest["metadata"]["labels"].items() >= LABELS.items()
        assert manifest["metadata"].get("namespace", "cube-vision") == "cube-vision"


def test_the_namespace_refuses_pods_that_are_not_restricted():
    assert namespace(TENANCY)["metadata"]["labels"] == LABELS | {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/audit-version": "latest",
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/warn-version": "latest",
    }


class TestNetwork:
    def test_nothing_goes_in_or_out_by_default(self):
        assert by_name("NetworkPolicy")["default-deny"]["spec"] == {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
        }

    def test_pods_of_the_project_reach_each_other(self):
        assert by_name("NetworkPolicy")["allow-same-namespace"]["spec"] == {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": {}}]}],
            "egress": [{"to": [{"podSelector": {}}]}],
        }

    def test_names_can_be_looked_up(self):
        assert by_name("NetworkPolicy")["allow-dns"]["spec"] == {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [
                        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
                        {"ipBlock": {"cidr": "169.254.20.10/32"}},
                    ],
                    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
                }
            ],
        }

    def test_the_internet_without_what_lies_inside(self):
        assert by_name("NetworkPolicy")["allow-internet"]["spec"] == {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [
                        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "169.254.0.0/16"]}},
                        {"ipBlock": {"cidr": "::/0", "except": ["fc00::/7"]}},
                    ]
                }
            ],
        }


class TestAccount:
    def test_has_no_token_and_the_projects_pull_secrets(self):
        account = by_name("ServiceAccount")["cube-job"]

        assert account["automountServiceAccountToken"] is False
        assert account["imagePullSecrets"] == [{"name": "registry-hub"}]

    def test_may_nothing(self):
        assert by_name("Role")["cube-job"]["rules"] == []
        binding = by_name("RoleBinding")["cube-job"]
        assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "cube-job"}
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "cube-job", "namespace": "cube-vision"}]


class TestSecrets:
    def test_values_as_they_are(self):
        secret = by_name("Secret")["secret-wandb"]

        assert secret["type"] == "Opaque"
        assert {key: base64.b64decode(value).decode() for key, value in secret["data"].items()} == {
            "API_KEY": "k",
            "user": "ü",
        }

    def test_registry_credentials_as_docker_writes_them(self):
        secret = by_name("Secret")["registry-hub"]

        assert secret["type"] == "kubernetes.io/dockerconfigjson"
        assert json.loads(base64.b64decode(secret["data"][".dockerconfigjson"])) == {
            "auths": {"r.example": {"username": "u", "password": "p", "auth": base64.b64encode(b"u:p").decode()}}
        }


def test_containers_that_say_nothing_are_counted_and_none_is_refused():
    assert by_name("LimitRange")["defaults"]["spec"] == {
        "limits": [{"type": "Container", "defaultRequest": {"cpu": "100m", "memory": "128Mi"}}]
    }


def test_the_workspace_is_of_the_default_class():
    assert workspace(TENANCY)["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "10Gi"}},
    }
