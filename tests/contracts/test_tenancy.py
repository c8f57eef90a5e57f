"""A project's namespace as a server takes it: every manifest is accepted, twice, and does what it is there for."""

import uuid

import pytest

from apps.clusters.gateway import Forbidden, ObjectRef, connect
from apps.quotas.models import TenantNamespace
from apps.quotas.services import reconcile_namespace
from tests.contracts.conftest import wait_for
from tests.factories import ClusterFactory, ProjectFactory

pytestmark = [pytest.mark.contract, pytest.mark.django_db]


@pytest.fixture
def place(server, settings):
    """A project and a cluster row behind which the server stands; the namespace goes afterwards."""
    settings.CUBE_NAMESPACE_PREFIX = f"cube-contract-{uuid.uuid4().hex[:8]}-"
    if server.name != "fake":
        settings.CUBE_GATEWAY = "apps.clusters.gateway.client.KubernetesGateway"
    project = ProjectFactory(slug="tenancy")
    cluster = ClusterFactory(kubeconfig=server.kubeconfig, has_default_storage=server.name != "real")
    project.secrets.create(name="token", kind="opaque", data={"KEY": "v"}, keys=["KEY"])
    project.secrets.create(name="hub", kind="registry", data={"server": "r.invalid", "username": "u", "password": "p"})
    yield project, cluster
    connect(cluster).delete(ObjectRef("v1", "Namespace", f"{settings.CUBE_NAMESPACE_PREFIX}tenancy"))


def test_is_made_and_put_right_again(place):
    project, cluster = place
    row = reconcile_namespace(project=project, cluster=cluster)
    api = connect(cluster)
    api.delete(ObjectRef("networking.k8s.io/v1", "NetworkPolicy", "default-deny", row.name))
    TenantNamespace.objects.update(fingerprint="")

    reconcile_namespace(project=project, cluster=cluster)

    policies = api.list("networking.k8s.io/v1", "NetworkPolicy", namespace=row.name).items
    assert sorted(p["metadata"]["name"] for p in policies) == [
        "allow-dns",
        "allow-internet",
        "allow-same-namespace",
        "default-deny",
    ]
    account = api.get(ObjectRef("v1", "ServiceAccount", "cube-job", row.name))
    assert account["automountServiceAccountToken"] is False
    assert account["imagePullSecrets"] == [{"name": "registry-hub"}]
    assert api.get(ObjectRef("v1", "Secret", "secret-token", row.name))["data"] == {"KEY": "dg=="}


def test_secrets_that_went_are_removed(place):
    project, cluster = place
    row = reconcile_namespace(project=project, cluster=cluster)
    project.secrets.filter(name="hub").delete()

    reconcile_namespace(project=project, cluster=cluster)

    api = connect(cluster)
    ours = api.list("v1", "Secret", namespace=row.name, labels={"cube.io/kind": "secret"}).items
    assert [s["metadata"]["name"] for s in ours] == ["secret-token"]
    account = api.get(ObjectRef("v1", "ServiceAccount", "cube-job", row.name))
    assert not account.get("imagePullSecrets")


def test_a_pod_that_is_not_restricted_is_refused(server, place):
    if server.name == "fake":
        pytest.skip("the fake admits every pod: Pod Security is an API server's")
    project, cluster = place
    row = reconcile_namespace(project=project, cluster=cluster)
    api = connect(cluster)
    wait_for(lambda: api.get(ObjectRef("v1", "ServiceAccount", "default", row.name)))
    container = {"name": "main", "image": "registry.invalid/never:1", "securityContext": {"privileged": True}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad", "namespace": row.name},
        "spec": {"containers": [container]},
    }

    with pytest.raises(Forbidden, match="PodSecurity"):
        api.create(pod, dry_run=True)
