"""Pure functions from a plan to what Kubernetes is asked for.

Pods meet the Pod Security Standard "restricted" whatever the user sends
(https://kubernetes.io/docs/concepts/security/pod-security-standards/): nothing a template renders reaches the
security context, volumes are Cube's own, the service account has no token.
"""

from typing import Any

from apps.clusters import labels
from apps.clusters.gateway import Manifest, ObjectRef
from apps.jobtemplates.workload import FILES, WORKSPACE

from .plan import JobPlan

SERVICE_ACCOUNT = "cube-job"
CONTAINER = "main"
# Kubernetes' own way to hand something small to whoever watches: what is written here stands in the pod's status.
OUTPUTS = "/dev/termination-log"
USER_ID = 1000  # "restricted" forbids root, and an image that names no user would be root
# The sweep removes what ended an hour ago. This is for when nobody sweeps: Cube may be away for a long week-end and
# still learn how its jobs ended.
KEEP_FINISHED_SECONDS = 4 * 24 * 3600
GRACE_SECONDS = 30


def for_job(plan: JobPlan) -> list[Manifest]:
    """Everything one attempt needs, in the order in which it is created: the Job comes last."""
    supports = [_files(plan)] if plan.workload.files else []
    if plan.is_distributed:
        supports.append(_service(plan))
    return [*supports, _job(plan)]


def support_refs(job: ObjectRef) -> list[ObjectRef]:
    """Whatever an attempt's Job may have been given to stand on."""
    return [
        ObjectRef("v1", "ConfigMap", f"{job.name}-files", job.namespace),
        ObjectRef("v1", "Service", job.name, job.namespace),
    ]


def owned_by(manifest: Manifest, job: Manifest) -> Manifest:
    """The same object, owned by the created Job, so that Kubernetes removes it with the Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [owner]}}


def _metadata(plan: JobPlan, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": plan.namespace, "labels": _labels(plan)}


def _labels(plan: JobPlan) -> dict[str, str]:
    return {
        **labels.MANAGED,
        labels.KIND: "job",
        labels.UID: plan.uid,
        labels.PROJECT: plan.project,
        labels.ATTEMPT: str(plan.attempt),
    }


def _files(plan: JobPlan) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(plan, f"{plan.object_name}-files"),
        "data": dict(plan.workload.files),
    }


def _service(plan: JobPlan) -> Manifest:
    """Headless, so that workers find each other as `<job>-<index>.<job>` before they are ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(plan, plan.object_name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": plan.object_name},
            "ports": [{"name": "workers", "port": plan.workload.port or 29500, "protocol": "TCP"}],
        },
    }


def _job(plan: JobPlan) -> Manifest:
    spec: dict[str, Any] = {
        "backoffLimit": 0,  # Cube retries: every attempt is an object of its own with its own log
        "completions": plan.workload.workers,
        "parallelism": plan.workload.workers,
        "completionMode": "Indexed" if plan.is_distributed else "NonIndexed",
        "ttlSecondsAfterFinished": KEEP_FINISHED_SECONDS,
        "template": {"metadata": {"labels": _labels(plan)}, "spec": _pod_spec(plan)},
    }
    if plan.time_limit_seconds:
        spec["activeDeadlineSeconds"] = plan.time_limit_seconds
    metadata = _metadata(plan, plan.object_name)
    metadata["annotations"] = {"cube.io/name": plan.name, "cube.io/priority": str(plan.priority)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _pod_spec(plan: JobPlan) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # The pause container is process 1 then, so a program that handles no SIGTERM ends at once when it is stopped;
        # as process 1 itself the kernel would shield it until the grace period is over.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(plan)],
        "volumes": _volumes(plan),
    }
    if plan.is_distributed:
        spec["subdomain"] = plan.object_name
    if plan.node_selector:
        spec["nodeSelector"] = dict(plan.node_selector)
    if plan.resources.gpu_count:
        spec["tolerations"] = [{"key": labels.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}]
    if affinity := _affinity(plan):
        spec["affinity"] = affinity
    return spec


def _container(plan: JobPlan) -> dict[str, Any]:
    workload = plan.workload
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": workload.image,
        "workingDir": workload.working_dir or WORKSPACE,
        "env": _environment(plan),
        "resources": _resources(plan),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": _mounts(plan),
        "terminationMessagePath": OUTPUTS,
        # What a program writes last tells why it failed, even when the log is long.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if workload.command:
        container["command"] = list(workload.command)
    if workload.args:
        container["args"] = list(workload.args)
    return container


def _environment(plan: JobPlan) -> list[dict[str, Any]]:
    master = f"{plan.object_name}-0.{plan.object_name}" if plan.is_distributed else "127.0.0.1"
    ours = {
        "HOME": "/tmp",  # noqa: S108  The only folder every image lets any user write.
        "USER": "cube",
        "CUBE_JOB_UID": plan.uid,
        "CUBE_JOB_NAME": plan.name,
        "CUBE_PROJECT": plan.project,
        "CUBE_ATTEMPT": str(plan.attempt),
        "CUBE_WORKSPACE": WORKSPACE,
        "CUBE_OUTPUTS": OUTPUTS,
        "CUBE_WORKERS": str(plan.workload.workers),
        "CUBE_MASTER_ADDR": master,
    }
    if not plan.is_distributed:
        ours["JOB_COMPLETION_INDEX"] = "0"  # what Kubernetes sets by itself for an Indexed Job
    plain = [{"name": name, "value": value} for name, value in {**ours, **plan.workload.env}.items()]
    secret = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": f"secret-{ref.secret}", "key": ref.key}}}
        for name, ref in plan.workload.secret_env.items()
    ]
    return plain + secret


def _resources(plan: JobPlan) -> dict[str, dict[str, str]]:
    asked = plan.resources
    requests = {"cpu": asked.cpu.request, "memory": asked.memory.request}
    limits = {"cpu": asked.cpu.limit, "memory": asked.memory.limit}
    if asked.gpu_count:  # Extended resources: request and limit must be equal.
        requests[labels.GPU_RESOURCE] = limits[labels.GPU_RESOURCE] = str(asked.gpu_count)
    return {"requests": requests, "limits": limits}


def _volumes(plan: JobPlan) -> list[dict[str, Any]]:
    workspace: dict[str, Any] = (
        {"persistentVolumeClaim": {"claimName": "workspace"}} if plan.has_workspace else {"emptyDir": {}}
    )
    volumes: list[dict[str, Any]] = [
        {"name": "workspace", **workspace},
        # PyTorch's data loaders outgrow the 64 MiB of shared memory a container gets; this counts as the pod's memory.
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    if plan.workload.files:
        volumes.append({"name": "files", "configMap": {"name": f"{plan.object_name}-files"}})
    return volumes


def _mounts(plan: JobPlan) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "workspace", "mountPath": WORKSPACE},
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]
    if plan.workload.files:
        mounts.append({"name": "files", "mountPath": FILES, "readOnly": True})
    return mounts


def _affinity(plan: JobPlan) -> dict[str, Any]:
    near = {"podAffinity": _near_the_workspace(plan)} if plan.workspace_is_on_one_node else {}
    return near | (_on_nodes_with(plan.resources.gpu_type) if plan.resources.gpu_type else {})


def _near_the_workspace(plan: JobPlan) -> dict[str, Any]:
    """Pods on another node than the volume hang in ContainerCreating, without a word, until it is let go there.

    So a project's pods go where its others run if they can, and workers that wait for each other must: apart, the
    first to mount the volume would keep it and wait for the rest for ever.
    """
    ours = {labels.PROJECT: plan.project, labels.KIND: "job"}
    rule: dict[str, Any] = {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": _beside(ours)}]
    }
    if plan.is_distributed:
        workers = {"batch.kubernetes.io/job-name": plan.object_name}
        rule["requiredDuringSchedulingIgnoredDuringExecution"] = [_beside(workers)]
    return rule


def _beside(pods: dict[str, str]) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": pods}, "topologyKey": "kubernetes.io/hostname"}


def _on_nodes_with(gpu_type: str) -> dict[str, Any]:
    """Terms are alternatives: any of the labels that name a GPU's type may match."""
    terms = [
        {"matchExpressions": [{"key": key, "operator": "In", "values": [gpu_type]}]} for key in labels.GPU_TYPE_LABELS
    ]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
