from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.clusters.gateway import ObjectRef, Unavailable
from apps.core.events import publish
from apps.projects.choices import SecretKind
from apps.projects.events import SecretsChanged
from apps.projects.models import ProjectSecret
from apps.quotas import tasks
from apps.quotas.models import TenantNamespace
from apps.quotas.services import NamespaceTaken, reconcile_namespace


@pytest.fixture
def name(project):
    return f"cube-{project.slug}"


@pytest.fixture
def reconcile(project, cluster_row, cluster):
    return lambda: reconcile_namespace(project=project, cluster=cluster_row)


def add_secret(project, name, kind=SecretKind.OPAQUE, **data):
    return ProjectSecret.objects.create(project=project, name=name, kind=kind, data=data, keys=[*data])


def kinds(cluster):
    return sorted(f"{ref.kind}/{ref.name}" for ref in cluster.objects)


def age(minutes):
    TenantNamespace.objects.update(reconciled_at=timezone.now() - timedelta(minutes=minutes))


class TestReconcileNamespace:
    def test_makes_everything_a_project_needs(self, reconcile, cluster, name, project):
        add_secret(project, "wandb", API_KEY="k")

        row = reconcile()

        assert (row.name, row.has_workspace, row.project) == (name, True, project)
        assert kinds(cluster) == [
            "LimitRange/defaults",
            f"Namespace/{name}",
            "NetworkPolicy/allow-dns",
            "NetworkPolicy/allow-internet",
            "NetworkPolicy/allow-same-namespace",
            "NetworkPolicy/default-deny",
            "PersistentVolumeClaim/workspace",
            "Role/cube-job",
            "RoleBinding/cube-job",
            "Secret/secret-wandb",
            "ServiceAccount/cube-job",
        ]

    def test_without_storage_there_is_no_workspace(self, reconcile, cluster, cluster_row):
        cluster_row.has_default_storage = False
        cluster_row.save()

        row = reconcile()

        assert not row.has_workspace
        assert not [ref for ref in cluster.objects if ref.kind == "PersistentVolumeClaim"]

    def test_asks_the_cluster_nothing_when_nothing_changed(self, reconcile, cluster):
        first = reconcile()
        cluster.go_down(Unavailable("nobody may ask"))

        second = reconcile()

        assert second.reconciled_at == first.reconciled_at

    def test_puts_right_again_after_ten_minutes(self, reconcile, cluster, name):
        reconcile()
        cluster.remove(ObjectRef("networking.k8s.io/v1", "NetworkPolicy", "default-deny", name))
        age(minutes=11)

        row = reconcile()

        assert "NetworkPolicy/default-deny" in kinds(cluster)
        assert row.reconciled_at > timezone.now() - timedelta(minutes=1)
        assert AuditEntry.objects.filter(action="namespace.reconcile").count() == 1

    def test_a_setting_that_changes_is_taken_up_at_once(self, reconcile, cluster, name, settings):
        reconcile()
        settings.CUBE_EGRESS_EXCEPT = ["192.168.0.0/16"]

        reconcile()

        policy = cluster.get(ObjectRef("networking.k8s.io/v1", "NetworkPolicy", "allow-internet", name))
        assert policy["spec"]["egress"][0]["to"][0]["ipBlock"]["except"] == ["192.168.0.0/16"]

    def test_leaves_a_workspace_as_it_is(self, reconcile, cluster, name, settings):
        reconcile()
        settings.CUBE_WORKSPACE_SIZE = "20Gi"

        reconcile()

        claim = cluster.get(ObjectRef("v1", "PersistentVolumeClaim", "workspace", name))
        assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"

    def test_an_unreachable_cluster_leaves_no_row(self, reconcile, cluster):
        cluster.go_down(Unavailable("no route"))

        with pytest.raises(Unavailable):
            reconcile()

        assert not TenantNamespace.objects.exists()

    def test_what_broke_in_the_middle_is_done_again(self, reconcile, cluster):
        reconcile()
        age(minutes=11)
        cluster.fail_next(Unavailable("reset"))
        with pytest.raises(Unavailable):
            reconcile()

        assert reconcile().reconciled_at > timezone.now() - timedelta(minutes=1)

    def test_the_fingerprint_gives_nothing_away(self, reconcile, project, settings):
        add_secret(project, "pin", PIN="1234")
        first = reconcile().fingerprint
        settings.SECRET_KEY = "another"

        assert reconcile().fingerprint != first


class TestForeignNamespaces:
    @pytest.mark.parametrize(
        ("labels", "said"),
        [
            ({}, "is not Cube's"),
            ({"app.kubernetes.io/managed-by": "helm"}, "is not Cube's"),
            ({"app.kubernetes.io/managed-by": "cube", "cube.io/project": "other"}, "another project"),
            ({"app.kubernetes.io/managed-by": "cube"}, "another project"),
        ],
    )
    def test_are_refused_and_left_alone(self, reconcile, cluster, name, labels, said):
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

        with pytest.raises(NamespaceTaken, match=said):
            reconcile()

        assert kinds(cluster) == [f"Namespace/{name}"]
        assert cluster.get(ObjectRef("v1", "Namespace", name))["metadata"].get("labels", {}) == labels
        assert not TenantNamespace.objects.exists()

    def test_one_that_is_going_away_is_waited_for(self, reconcile, cluster, name, project):
        labels = {"app.kubernetes.io/managed-by": "cube", "cube.io/project": project.slug}
        meta = {"name": name, "labels": labels, "deletionTimestamp": "2026-01-01T00:00:00Z"}
        cluster.add({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})

        with pytest.raises(Unavailable, match="being deleted"):
            reconcile()

        assert kinds(cluster) == [f"Namespace/{name}"]


class TestSecrets:
    def test_follow_the_project(self, reconcile, cluster, project, name):
        gone = add_secret(project, "old", K="1")
        kept = add_secret(project, "kept", K="1")
        add_secret(project, "hub", SecretKind.REGISTRY, server="r", username="u", password="p")
        reconcile()
        gone.delete()
        kept.data = {"K": "2"}
        kept.save()

        reconcile()

        assert [k for k in kinds(cluster) if k.startswith("Secret/")] == ["Secret/registry-hub", "Secret/secret-kept"]
        assert cluster.get(ObjectRef("v1", "Secret", "secret-kept", name))["data"] == {"K": "Mg=="}
        account = cluster.get(ObjectRef("v1", "ServiceAccount", "cube-job", name))
        assert account["imagePullSecrets"] == [{"name": "registry-hub"}]

    def test_that_are_not_ours_stay(self, reconcile, cluster, project, name):
        reconcile()
        meta = {"name": "theirs", "namespace": name}
        cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta})
        age(minutes=11)

        reconcile()

        assert "Secret/theirs" in kinds(cluster)

    def test_a_change_reaches_the_clusters_where_the_project_lives(
        self, reconcile, cluster, project, django_capture_on_commit_callbacks
    ):
        reconcile()
        add_secret(project, "late", K="1")

        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            publish(SecretsChanged(project_id=project.pk))

        assert "Secret/secret-late" in kinds(cluster)

    def test_a_change_asks_nothing_of_clusters_it_never_used(
        self, cluster, cluster_row, project, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            publish(SecretsChanged(project_id=project.pk))

        assert cluster.objects == {}

    def test_are_not_audited(self, reconcile, project):
        add_secret(project, "wandb", API_KEY="topsecret")

        reconcile()

        entry = AuditEntry.objects.get(action="namespace.reconcile")
        assert entry.detail == {"objects": ["secret-wandb"]}


class TestTask:
    def test_a_project_or_cluster_that_is_gone_is_nobodys_problem(self, cluster, cluster_row, project):
        tasks.reconcile_namespace(project_id=987, cluster_id=cluster_row.pk)
        cluster_row.is_enabled = False
        cluster_row.save()
        tasks.reconcile_namespace(project_id=project.pk, cluster_id=cluster_row.pk)

        assert cluster.objects == {}
