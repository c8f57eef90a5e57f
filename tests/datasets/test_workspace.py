"""The workspace as last listed: asked for, taken in, and shown, with a pod that is not trusted."""

import json

import kubernetes_validate
import pytest
from django.urls import reverse
from rest_framework.test import APIClient

from apps.clusters.events import WorkloadObserved
from apps.clusters.gateway import ObjectRef, Unavailable
from apps.datasets import handlers, listing, manifests, selectors, services
from apps.datasets.choices import ListingStatus
from apps.datasets.models import Workspace

FILES = [
    {"path": "examples/train_digits.py", "size": 2048, "modified": 1795000000},
    {"path": "models/digits.joblib", "size": 90000, "modified": 1795000100},
]


@pytest.fixture
def workspace(project, member, cluster, cluster_row, django_capture_on_commit_callbacks):
    """A listing that was asked for, its pod created."""
    with django_capture_on_commit_callbacks(execute=True):
        return services.request_listing(project=project, cluster=cluster_row, actor=member)


@pytest.fixture
def ref(workspace, project):
    return ObjectRef("v1", "Pod", f"workspace-files-{workspace.pk}", f"cube-{project.slug}")


@pytest.fixture
def end(cluster, ref, workspace, cluster_row):
    """The pod ends after printing; the watcher sees it."""

    def finish(printed, phase="Succeeded", namespace=None):
        pod = cluster.add({**cluster.objects[ref], "spec": {**cluster.objects[ref]["spec"], "nodeName": "n"}})
        pod = cluster.set_status(ref, {"phase": phase})
        cluster.write_log(ref.namespace, ref.name, "main", printed)
        cluster.end_log(ref.namespace, ref.name, "main")
        if namespace:
            pod["metadata"]["namespace"] = namespace
        handlers.take_in_listing(
            WorkloadObserved(
                cluster_id=cluster_row.pk,
                kind="Pod",
                namespace=ref.namespace,
                name=ref.name,
                workload_kind="workspace",
                workload_uid=str(workspace.pk),
                deleted=False,
                manifest=pod,
            )
        )

    return finish


def fresh(workspace):
    return Workspace.objects.get(pk=workspace.pk)


class TestListing:
    def test_starts_a_restricted_read_only_pod(self, cluster, workspace, ref):
        pod = cluster.objects[ref]

        assert workspace.status == ListingStatus.LISTING
        assert pod["spec"]["containers"][0]["volumeMounts"] == [
            {"name": "workspace", "mountPath": "/workspace", "readOnly": True}
        ]
        assert pod["spec"]["automountServiceAccountToken"] is False
        (near,) = pod["spec"]["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert near["podAffinityTerm"] == {
            "labelSelector": {"matchLabels": {"cube.io/project": workspace.project.slug, "cube.io/kind": "job"}},
            "topologyKey": "kubernetes.io/hostname",
        }
        kubernetes_validate.validate(
            manifests.listing_pod(workspace, namespace="n", image="python:3.11-slim"), "1.36", strict=True
        )

    def test_keeps_what_the_pod_printed_and_removes_it(self, cluster, workspace, ref, end, project, cluster_row):
        end(json.dumps({"files": FILES, "truncated": False}))

        assert fresh(workspace).status == ListingStatus.READY
        assert fresh(workspace).files == FILES
        assert fresh(workspace).listed_at is not None
        assert ref not in cluster.objects
        assert selectors.file_paths(project, cluster_row, suffix=".py") == ["examples/train_digits.py"]

    @pytest.mark.parametrize("printed", ["", "not json", "[]", '{"files": 3}', '{"files": [{"path": 1}]}'])
    def test_does_not_trust_what_was_printed(self, workspace, end, printed):
        end(printed or " ")

        assert fresh(workspace).status == ListingStatus.FAILED
        assert fresh(workspace).files == []

    def test_tells_why_the_pod_failed_and_keeps_the_last_good_listing(self, workspace, end):
        Workspace.objects.filter(pk=workspace.pk).update(files=FILES)

        end("PermissionError: /workspace", phase="Failed")

        assert fresh(workspace).status == ListingStatus.FAILED
        assert "PermissionError" in fresh(workspace).message
        assert fresh(workspace).files == FILES

    def test_a_pod_that_never_started_says_why_and_goes(self, cluster, cluster_row, workspace, ref, project, member):
        """As Kubernetes tells it: out of time, the image still being pulled, and no log to be read (400)."""
        waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nowhere:1"'}
        cluster.add({**cluster.objects[ref], "spec": {**cluster.objects[ref]["spec"], "nodeName": "n"}})
        pod = cluster.set_status(
            ref,
            {
                "phase": "Failed",
                "reason": "DeadlineExceeded",
                "message": "Pod was active on the node longer than the specified deadline",
                "containerStatuses": [{"name": "main", "state": {"waiting": waiting}}],
            },
        )

        listing.finish(workspace_id=workspace.pk, pod=pod)

        assert fresh(workspace).status == ListingStatus.FAILED
        assert fresh(workspace).message == (
            "The listing pod failed. Pod was active on the node longer than the specified deadline "
            'Back-off pulling image "nowhere:1"'
        )
        assert ref not in cluster.objects

    def test_ignores_a_pod_of_another_namespace(self, workspace, end):
        end(json.dumps({"files": FILES, "truncated": False}), namespace="elsewhere")

        assert fresh(workspace).status == ListingStatus.LISTING

    def test_asked_again_while_under_way_starts_nothing(self, cluster, workspace, project, member, cluster_row):
        before = dict(cluster.objects)

        services.request_listing(project=project, cluster=cluster_row, actor=member)
        listing.start(workspace_id=workspace.pk)  # the message came twice

        assert cluster.objects == before

    def test_says_so_where_the_cluster_has_no_storage(self, project, member, cluster, cluster_row):
        cluster_row.has_default_storage = False
        cluster_row.save()
        workspace = services.request_listing(project=project, cluster=cluster_row, actor=member)

        listing.start(workspace_id=workspace.pk)

        assert (fresh(workspace).status, fresh(workspace).message) == (ListingStatus.FAILED, listing.NO_STORAGE)

    def test_tries_again_when_the_cluster_is_away(self, project, member, cluster, cluster_row):
        workspace = services.request_listing(project=project, cluster=cluster_row, actor=member)
        cluster.go_down(Unavailable("no route"))

        with pytest.raises(Unavailable):
            listing.start(workspace_id=workspace.pk)

        assert fresh(workspace).status == ListingStatus.LISTING


class TestDoors:
    def test_the_page_shows_the_files(self, client, workspace, end, project, viewer):
        end(json.dumps({"files": FILES, "truncated": True}))
        client.force_login(viewer)

        body = client.get(reverse("datasets:workspace", kwargs={"project": project.slug})).content.decode()

        assert "models/digits.joblib" in body
        assert "more were left out" in body

    def test_a_file_name_cannot_forge_markup(self, client, workspace, end, project, viewer):
        end(json.dumps({"files": [{"path": "<script>x</script>", "size": 1, "modified": 10**30}], "truncated": False}))
        client.force_login(viewer)

        answer = client.get(reverse("datasets:workspace", kwargs={"project": project.slug}))

        assert answer.status_code == 200
        assert b"<script>x" not in answer.content

    def test_the_api_lists_and_asks(self, project, viewer, outsider, cluster, cluster_row):
        api, url = APIClient(), f"/api/v1/projects/{project.slug}/workspace/"
        api.force_authenticate(viewer)

        assert api.get(url).json()["status"] == "never"
        assert api.post(url).status_code == 202
        assert api.get(url).json()["status"] == "listing"
        api.force_authenticate(outsider)
        assert api.get(url).status_code == api.post(url).status_code == 404
