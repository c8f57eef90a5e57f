import orjson
import pytest

from apps.clusters.gateway import ObjectRef
from apps.datasets import listing, manifests, services
from apps.datasets.choices import ListingStatus
from apps.datasets.models import Workspace

FOUND = orjson.dumps({"files": [{"path": "a.txt", "size": 3, "modified": 1}], "truncated": False}).decode()


@pytest.fixture
def workspace(project, cluster_row, member):
    cluster_row.has_default_storage = True
    cluster_row.save()
    return services.request_listing(project=project, cluster=cluster_row, actor=member)


@pytest.fixture
def pod(workspace, cluster):
    """The listing pod, just ended."""
    listing.start(workspace_id=workspace.pk)
    ref = ObjectRef("v1", "Pod", manifests.pod_name(workspace), f"cube-{workspace.project.slug}")
    cluster.write_log(ref.namespace, ref.name, manifests.CONTAINER, FOUND)
    ended = {"terminated": {"exitCode": 0}}
    return cluster.set_status(
        ref, {"phase": "Succeeded", "containerStatuses": [{"name": manifests.CONTAINER, "state": ended}]}
    )


class TestFinish:
    def test_takes_in_what_the_pod_printed_and_removes_it(self, workspace, pod, cluster):
        listing.finish(workspace_id=workspace.pk, pod=pod)

        seen = Workspace.objects.get()
        assert (seen.status, seen.files) == (ListingStatus.READY, [{"path": "a.txt", "size": 3, "modified": 1}])
        assert ObjectRef.of(pod) not in cluster.objects

    def test_told_twice_keeps_the_listing(self, workspace, pod):
        """A kubelet reports the end of a pod in more than one update; by the second the pod is gone."""
        listing.finish(workspace_id=workspace.pk, pod=pod)

        listing.finish(workspace_id=workspace.pk, pod=pod)

        assert Workspace.objects.get().status == ListingStatus.READY

    def test_removes_a_pod_whose_reader_was_killed(self, workspace, pod, cluster):
        services.record_listing(workspace_id=workspace.pk, printed=FOUND.encode())

        listing.finish(workspace_id=workspace.pk, pod=pod)

        assert Workspace.objects.get().status == ListingStatus.READY
        assert ObjectRef.of(pod) not in cluster.objects


class TestStart:
    def test_makes_a_namespace_again_that_somebody_deleted(self, workspace, pod, cluster):
        listing.finish(workspace_id=workspace.pk, pod=pod)
        cluster.remove(ObjectRef("v1", "Namespace", pod["metadata"]["namespace"]))

        with pytest.raises(listing.gateway.Unavailable):
            listing.start(workspace_id=workspace.pk)
        listing.start(workspace_id=workspace.pk)

        assert ObjectRef.of(pod) in cluster.objects


class TestScript:
    def test_lists_names_that_are_no_utf_8(self, tmp_path, capsys):
        (tmp_path / "a.txt").write_text("abc")
        open(bytes(tmp_path) + b"/b\xff", "w").close()

        exec(manifests.SCRIPT.replace("/workspace", str(tmp_path)), {})  # noqa: S102

        found = orjson.loads(capsys.readouterr().out)
        assert [(file["path"], file["size"]) for file in found["files"]] == [("a.txt", 3), ("b\ufffd", 0)]
