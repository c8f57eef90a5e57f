import pytest
from django.db import connection

from apps.accounts.models import AuditEntry
from apps.clusters import selectors, services, tasks
from apps.clusters.choices import Health
from apps.clusters.events import ClusterHealthChanged
from apps.clusters.gateway import Forbidden, ObjectRef, Unavailable, connect
from apps.clusters.models import Cluster, Node, ResourceGroup
from apps.core import events
from apps.core.errors import InvalidInput
from tests.factories import ClusterFactory, UserFactory

from .kubeconfigs import kubeconfig


@pytest.fixture
def published(monkeypatch, django_capture_on_commit_callbacks):
    """What is announced while the test runs."""
    seen = []
    monkeypatch.setattr(services, "publish", seen.append)
    return seen


def node(name, *, ready="True", labels=None, unschedulable=False, gpus="0", cpu="8"):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"unschedulable": True} if unschedulable else {},
        "status": {
            "allocatable": {"cpu": cpu, "memory": "32Gi", "nvidia.com/gpu": gpus},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def storage_class(*, default):
    notes = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    meta = {"name": "standard", "annotations": notes}
    return {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": meta, "provisioner": "x"}


@pytest.mark.django_db
class TestRegisterCluster:
    def test_makes_the_cluster_and_its_default_group(self):
        admin = UserFactory()

        cluster = services.register_cluster(
            slug="main", name="Main", kubeconfig=kubeconfig(), is_default=True, actor=admin
        )

        assert Cluster.objects.get().kubeconfig == kubeconfig()
        assert [(g.slug, g.is_default) for g in selectors.resource_groups(cluster)] == [("default", True)]
        entry = AuditEntry.objects.get()
        assert (entry.action, entry.target, entry.actor) == ("cluster.register", "main", admin)
        assert "s3cret-token" not in str(entry.detail)

    def test_keeps_the_kubeconfig_encrypted(self):
        services.register_cluster(slug="main", name="Main", kubeconfig=kubeconfig())

        with connection.cursor() as cursor:
            cursor.execute("SELECT kubeconfig FROM clusters_cluster")
            stored = cursor.fetchone()[0]

        assert "s3cret-token" not in stored
        assert stored.startswith("gAAAA")

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"kubeconfig": "nonsense"}, "kubeconfig"),
            ({"slug": "Not a slug"}, "slug"),
            ({"slug": "taken"}, "slug"),
            ({"name": ""}, "name"),
        ],
    )
    def test_refuses_and_makes_nothing(self, given, field):
        ClusterFactory(slug="taken", is_default=True)

        with pytest.raises(InvalidInput) as refused:
            services.register_cluster(
                **{"slug": "new", "name": "New", "kubeconfig": kubeconfig(), "is_default": True, **given}
            )

        assert field in refused.value.fields
        assert list(Cluster.objects.values_list("slug", "is_default")) == [("taken", True)]
        assert not ResourceGroup.objects.exists()
        assert not AuditEntry.objects.exists()

    def test_a_new_default_takes_over(self):
        old = ClusterFactory(is_default=True)

        services.register_cluster(slug="new", name="New", kubeconfig=kubeconfig(), is_default=True)

        old.refresh_from_db()
        assert not old.is_default
        assert selectors.default_cluster().slug == "new"


@pytest.mark.django_db
class TestChanges:
    def test_a_bad_kubeconfig_leaves_the_good_one(self):
        cluster = services.register_cluster(slug="main", name="Main", kubeconfig=kubeconfig())

        with pytest.raises(InvalidInput):
            services.update_kubeconfig(cluster=cluster, kubeconfig=kubeconfig(server="http://10.0.0.1"))

        assert Cluster.objects.get().kubeconfig == kubeconfig()

    def test_the_same_kubeconfig_again_changes_nothing(self):
        cluster = services.register_cluster(slug="main", name="Main", kubeconfig=kubeconfig())

        services.update_kubeconfig(cluster=cluster, kubeconfig=kubeconfig())

        assert AuditEntry.objects.filter(action="cluster.update_kubeconfig").count() == 0

    def test_a_disabled_cluster_is_not_usable(self, cluster_row):
        services.set_enabled(cluster=cluster_row, is_enabled=False)

        assert not selectors.usable_clusters().exists()
        assert selectors.default_cluster() is None
        assert AuditEntry.objects.get().action == "cluster.disable"

    def test_a_resource_group_needs_real_labels(self, cluster_row):
        for wrong in ({"pool": 1}, {"a b": "x"}, ["pool"], {"pool": "not a label!"}):
            with pytest.raises(InvalidInput) as refused:
                services.save_resource_group(cluster=cluster_row, slug="g", name="G", node_selector=wrong)
            assert [*refused.value.fields] == ["node_selector"]
        assert not ResourceGroup.objects.exists()

        group = services.save_resource_group(
            cluster=cluster_row, slug="g", name="G", node_selector={"example.org/pool": "train"}
        )

        assert ResourceGroup.objects.get().node_selector == {"example.org/pool": "train"}
        with pytest.raises(InvalidInput):
            services.save_resource_group(cluster=cluster_row, slug="g", name="Again", node_selector={})
        assert ResourceGroup.objects.get() == group


class TestProbeCluster:
    def test_remembers_version_capabilities_and_nodes(self, cluster_row, cluster, published):
        Cluster.objects.update(health=Health.UNKNOWN, has_default_storage=False)
        cluster.add(node("a", gpus="8", labels={"nvidia.com/gpu.product": "NVIDIA-A100", "zone": "x"}))
        cluster.add(node("b", ready="Unknown", unschedulable=True, gpus="2", labels={"gpu-type": "T4"}))
        cluster.add(storage_class(default=True))

        probed = services.probe_cluster(cluster_id=cluster_row.pk)

        assert (probed.health, probed.health_message, probed.version) == ("healthy", "", "v1.36.2")
        assert probed.serves("batch/v1")
        assert not probed.serves("kubeflow.org/v1")
        assert probed.has_default_storage
        a, b = Node.objects.all()
        assert (a.name, a.is_ready, a.is_schedulable, a.gpu_type, a.gpu_count) == ("a", True, True, "NVIDIA-A100", 8)
        assert (b.name, b.is_ready, b.is_schedulable, b.gpu_type, b.gpu_count) == ("b", False, False, "T4", 2)
        assert a.allocatable["memory"] == "32Gi"
        assert a.labels["zone"] == "x"
        assert published == [ClusterHealthChanged(cluster_id=cluster_row.pk, health="healthy")]

    def test_without_a_default_class_there_is_no_storage(self, cluster_row, cluster):
        cluster.add(storage_class(default=False))

        assert not services.probe_cluster(cluster_id=cluster_row.pk).has_default_storage

    def test_follows_nodes_that_come_change_and_go(self, cluster_row, cluster):
        for manifest in (node("stays"), node("changes"), node("goes")):
            cluster.add(manifest)
        services.probe_cluster(cluster_id=cluster_row.pk)
        kept = Node.objects.get(name="stays")
        cluster.add(node("changes", cpu="16"))
        cluster.add(node("comes"))
        cluster.remove(ObjectRef("v1", "Node", "goes"))

        services.probe_cluster(cluster_id=cluster_row.pk)

        assert {n.name: n.allocatable["cpu"] for n in Node.objects.all()} == {
            "stays": "8",
            "changes": "16",
            "comes": "8",
        }
        assert Node.objects.get(name="stays").updated_at == kept.updated_at

    def test_an_unreachable_cluster_keeps_its_last_snapshot(self, cluster_row, cluster, published):
        cluster.add(node("a"))
        services.probe_cluster(cluster_id=cluster_row.pk)
        cluster.go_down(Unavailable("no route to host"))

        probed = services.probe_cluster(cluster_id=cluster_row.pk)
        services.probe_cluster(cluster_id=cluster_row.pk)

        assert (probed.health, probed.health_message, probed.version) == ("unreachable", "no route to host", "v1.36.2")
        assert Node.objects.count() == 1
        assert published == [ClusterHealthChanged(cluster_id=cluster_row.pk, health="unreachable")]

    def test_refused_credentials_are_told_apart(self, cluster_row, cluster):
        cluster.fail_next(Forbidden("Unauthorized", status=401))

        probed = services.probe_cluster(cluster_id=cluster_row.pk)

        assert (probed.health, probed.health_message) == ("refused", "Unauthorized")

    def test_an_account_that_may_read_neither_nodes_nor_storage_is_healthy(self, cluster_row, cluster, monkeypatch):
        """A 403 on what only adorns the portal says nothing about jobs."""
        cluster.add(node("a"))

        def refuse(self, api_version, kind, **asked):
            raise Forbidden(f'{kind} is forbidden: User "cube" cannot list resource', status=403)

        monkeypatch.setattr(type(cluster), "list", refuse)

        probed = services.probe_cluster(cluster_id=cluster_row.pk)

        assert (probed.health, probed.health_message, probed.version) == ("healthy", "", "v1.36.2")
        assert (probed.has_default_storage, Node.objects.count()) == (False, 0)

    def test_a_cluster_that_is_gone_is_nobodys_problem(self, db):
        assert services.probe_cluster(cluster_id=4711) is None

    def test_one_that_hangs_stops_only_its_own_work(self, cluster_row, cluster):
        """The real client against an address that nobody answers: the other clusters are probed all the same."""
        broken = ClusterFactory(slug="broken", kubeconfig="broken")
        connect(broken).go_down(Unavailable("time-out"))
        off = ClusterFactory(slug="off", is_enabled=False, health=Health.UNKNOWN)

        tasks.probe_clusters()

        health = dict(Cluster.objects.values_list("slug", "health"))
        assert health == {"default": "healthy", "broken": "unreachable", "off": "unknown"}
        off.refresh_from_db()
        assert off.probed_at is None

    def test_no_network_inside_a_transaction(self, cluster_row, cluster, django_assert_max_num_queries):
        with django_assert_max_num_queries(14):
            for number in range(3):
                cluster.add(node(f"n{number}"))
            services.probe_cluster(cluster_id=cluster_row.pk)


class TestEvents:
    def test_a_change_of_health_reaches_who_listens(
        self, cluster_row, cluster, monkeypatch, django_capture_on_commit_callbacks
    ):
        seen = []
        monkeypatch.setitem(events._handlers, ClusterHealthChanged, [seen.append])
        cluster.go_down(Unavailable("gone"))

        with django_capture_on_commit_callbacks(execute=True):
            services.probe_cluster(cluster_id=cluster_row.pk)

        assert seen == [ClusterHealthChanged(cluster_id=cluster_row.pk, health="unreachable")]


class TestSelectors:
    def test_gpus_by_type(self, cluster_row):
        rows = [("a", "A100", 8, True), ("b", "A100", 8, False), ("c", "T4", 4, True), ("d", "", 0, True)]
        for name, kind, count, ready in rows:
            Node.objects.create(cluster=cluster_row, name=name, gpu_type=kind, gpu_count=count, is_ready=ready)

        assert selectors.gpu_types(cluster_row) == [
            selectors.GpuType("A100", total=16, usable=8, nodes=2),
            selectors.GpuType("T4", total=4, usable=4, nodes=1),
        ]

    def test_the_only_cluster_is_the_default_one(self, db):
        only = ClusterFactory(is_default=False)

        assert selectors.default_cluster() == only

        ClusterFactory(is_default=False)
        assert selectors.default_cluster() is None
