import pytest
from rest_framework.test import APIClient

from apps.clusters.models import Cluster, Node, ResourceGroup
from tests.factories import ClusterFactory, UserFactory

from .kubeconfigs import kubeconfig

LIST = "/api/v1/clusters/"


@pytest.fixture
def person(db):
    client = APIClient()
    client.force_login(UserFactory())
    return client


@pytest.fixture
def main(db):
    made = ClusterFactory(slug="main", name="Main", is_default=True, kubeconfig=kubeconfig())
    ResourceGroup.objects.create(
        cluster=made, slug="train", name="Training", node_selector={"pool": "train"}, is_default=True
    )
    Node.objects.create(cluster=made, name="a", gpu_type="A100", gpu_count=8, is_ready=True)
    return made


class TestList:
    def test_tells_what_one_needs_to_choose(self, person, main):
        answer = person.get(LIST).json()

        assert answer["results"] == [
            {
                "slug": "main",
                "name": "Main",
                "is_default": True,
                "health": "healthy",
                "probed_at": None,
                "version": "v1.36.2",
                "capabilities": ["batch/v1", "networking.k8s.io/v1", "v1"],
                "has_default_storage": True,
                "runs_local_processes": False,
                "gpu_types": [{"name": "A100", "total": 8, "usable": 8, "nodes": 1}],
                "resource_groups": [
                    {"slug": "train", "name": "Training", "is_default": True, "node_selector": {"pool": "train"}}
                ],
            }
        ]

    def test_never_tells_where_it_is_or_how_it_is_reached(self, person, main):
        Cluster.objects.update(health="unreachable", health_message="no route to 10.1.2.3")

        for path in (LIST, f"{LIST}main/"):
            text = person.get(path).content.decode()
            assert "s3cret-token" not in text
            assert "cluster.example" not in text
            assert "10.1.2.3" not in text

    def test_leaves_out_disabled_ones(self, person, main):
        ClusterFactory(slug="off", is_enabled=False)

        assert [c["slug"] for c in person.get(LIST).json()["results"]] == ["main"]
        assert person.get(f"{LIST}off/").status_code == 404

    def test_costs_the_same_for_many(self, person, main, django_assert_num_queries):
        with django_assert_num_queries(5):
            person.get(LIST)
        for number in range(10):
            ClusterFactory(slug=f"c{number}")

        with django_assert_num_queries(5):
            assert len(person.get(LIST).json()["results"]) == 11


class TestAccess:
    def test_nobody_reads_without_signing_in(self, main):
        assert APIClient().get(LIST).status_code in (401, 403)
        assert APIClient().get(f"{LIST}main/").status_code in (401, 403)

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    def test_nothing_is_changed_here(self, person, main, method):
        for path in (LIST, f"{LIST}main/"):
            assert getattr(person, method)(path, {"name": "Mine"}).status_code in (403, 405)

        assert Cluster.objects.get().name == "Main"
