"""What Kubernetes is asked for: exact where users depend on it, valid against the official schemas, restricted."""

import kubernetes_validate
import pytest

from apps.clusters.quantities import Resources
from apps.jobs import manifests, selectors
from apps.jobs.plan import JobPlan, object_name
from apps.jobtemplates.workload import SecretRef, Workload

UID = "11111111-2222-4333-8444-555555555555"


def plan(**changes):
    values = {
        "uid": UID,
        "name": "train",
        "attempt": 1,
        "project": "vision",
        "namespace": "cube-vision",
        "workload": Workload(image="python:3.11-slim", command=("/bin/sh", "-c", "python -c 'print(1)'")),
        "resources": Resources.parse({"cpu": "100m~1", "memory": "64Mi~256Mi"}),
    }
    return JobPlan(**{**values, **changes})


def pod_spec(objects):
    return objects[-1]["spec"]["template"]["spec"]


def distributed(**changes):
    workload = Workload(image="torch", command=("python",), workers=2, port=29500, files={"main.py": "print(1)"})
    return plan(workload=workload, **changes)


@pytest.mark.parametrize(
    "made",
    [
        plan(),
        distributed(),
        plan(resources=Resources.parse({"gpu": "2(A100)"}), node_selector={"pool": "train"}, time_limit_seconds=60),
        plan(has_workspace=False),
        distributed(workspace_is_on_one_node=True, resources=Resources.parse({"gpu": "1(A100)"})),
        plan(workload=Workload(image="x", secret_env={"TOKEN": SecretRef("hub", "token")}, env={"A": "b"})),
    ],
    ids=["command", "distributed", "gpu", "scratch", "one node", "secret"],
)
class TestEveryManifest:
    def test_is_valid_for_kubernetes(self, made):
        for manifest in manifests.for_job(made):
            kubernetes_validate.validate(manifest, "1.36", strict=True)

    def test_meets_the_restricted_pod_security_standard(self, made):
        spec = pod_spec(manifests.for_job(made))

        assert spec["automountServiceAccountToken"] is False
        assert spec["serviceAccountName"] == "cube-job"
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert {kind for volume in spec["volumes"] for kind in volume} <= {
            "name", "persistentVolumeClaim", "emptyDir", "configMap",
        }  # fmt: skip
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }

    def test_carries_the_labels_that_find_it_again(self, made):
        for manifest in manifests.for_job(made):
            assert manifest["metadata"]["namespace"] == "cube-vision"
            assert manifest["metadata"]["labels"] == {
                "app.kubernetes.io/managed-by": "cube",
                "cube.io/kind": "job",
                "cube.io/uid": UID,
                "cube.io/project": "vision",
                "cube.io/attempt": "1",
            }


class TestForJob:
    def test_asks_for_the_written_resources(self):
        container = pod_spec(manifests.for_job(plan()))["containers"][0]

        assert container["resources"] == {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        }

    def test_sends_gpus_to_nodes_of_their_type(self):
        spec = pod_spec(manifests.for_job(plan(resources=Resources.parse({"gpu": "2(A100)"}))))

        assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
        terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert terms == [
            {"matchExpressions": [{"key": "gpu-type", "operator": "In", "values": ["A100"]}]},
            {"matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": ["A100"]}]},
        ]

    def test_gives_workers_a_name_to_find_the_first_by(self):
        files, service, job = manifests.for_job(distributed())
        name = job["metadata"]["name"]

        assert files["data"] == {"main.py": "print(1)"}
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"] is True
        assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
        assert job["spec"]["completionMode"] == "Indexed"
        assert job["spec"]["completions"] == job["spec"]["parallelism"] == 2
        assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
        env = {e["name"]: e["value"] for e in pod_spec([job])["containers"][0]["env"]}
        assert env["CUBE_MASTER_ADDR"] == f"{name}-0.{name}"
        assert env["CUBE_WORKERS"] == "2"
        assert "JOB_COMPLETION_INDEX" not in env

    def test_never_lets_secrets_into_the_manifest(self):
        made = plan(workload=Workload(image="x", secret_env={"TOKEN": SecretRef("hub", "token")}))

        env = pod_spec(manifests.for_job(made))["containers"][0]["env"]

        assert env[-1] == {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "secret-hub", "key": "token"}}}

    def test_says_scratch_where_there_is_no_workspace(self):
        spec = pod_spec(manifests.for_job(plan(has_workspace=False)))

        assert spec["volumes"][0] == {"name": "workspace", "emptyDir": {}}

    def test_limits_time_when_asked(self):
        assert manifests.for_job(plan(time_limit_seconds=90))[-1]["spec"]["activeDeadlineSeconds"] == 90
        assert "activeDeadlineSeconds" not in manifests.for_job(plan())[-1]["spec"]


class TestObjectName:
    def test_is_fixed_and_readable(self):
        assert object_name(name="train", uid=UID, attempt=2) == "train-1111111122-2"

    def test_fits_a_label_with_room_for_a_worker_index(self):
        name = object_name(name="a" * 63, uid=UID, attempt=11)

        assert len(f"{name}-63") <= 63
        assert name == "a" * 36 + "-1111111122-11"

    def test_starts_with_a_letter_because_services_must(self):
        assert object_name(name="3d", uid=UID, attempt=1) == "j3d-1111111122-1"


class TestWorkspaceOnOneNode:
    """ReadWriteOnce: a pod on another node would wait for the volume without end."""

    def test_a_job_prefers_the_node_where_its_project_runs(self):
        spec = pod_spec(manifests.for_job(plan(workspace_is_on_one_node=True)))

        assert spec["affinity"] == {
            "podAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {
                            "labelSelector": {"matchLabels": {"cube.io/project": "vision", "cube.io/kind": "job"}},
                            "topologyKey": "kubernetes.io/hostname",
                        },
                    }
                ]
            }
        }

    def test_workers_must_share_a_node(self):
        objects = manifests.for_job(distributed(workspace_is_on_one_node=True))

        assert pod_spec(objects)["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == [
            {
                "labelSelector": {"matchLabels": {"batch.kubernetes.io/job-name": objects[-1]["metadata"]["name"]}},
                "topologyKey": "kubernetes.io/hostname",
            }
        ]

    def test_elsewhere_workers_go_where_there_is_room(self):
        assert "affinity" not in pod_spec(manifests.for_job(distributed()))

    def test_the_access_mode_decides(self, db, settings, submit):
        job = submit()

        assert selectors.plan_for(job, attempt=1, has_workspace=True).workspace_is_on_one_node is True
        assert selectors.plan_for(job, attempt=1, has_workspace=False).workspace_is_on_one_node is False
        settings.CUBE_WORKSPACE_ACCESS_MODE = "ReadWriteMany"
        assert selectors.plan_for(job, attempt=1, has_workspace=True).workspace_is_on_one_node is False
