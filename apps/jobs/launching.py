"""The cluster's side of a job: create, remove, observe. No function here holds a transaction over the network."""

from typing import Any

from django.db.models import Q

from apps.clusters import gateway, labels
from apps.clusters.gateway import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gateway,
    GatewayError,
    Invalid,
    Manifest,
    NotFound,
    ObjectRef,
    Unavailable,
)
from apps.clusters.models import Cluster
from apps.core.errors import DomainError
from apps.quotas.services import forget_if_gone, reconcile_namespace

from . import manifests, selectors, services
from .choices import FINISHED, JobStatus, Reason
from .models import Attempt, Job, Pod
from .observation import PodFacts, failure_of, job_facts, pod_facts

OURS = {**labels.MANAGED, labels.KIND: "job"}
NO_STORAGE = "The cluster has no default storage class: /workspace is a scratch folder that goes with the pod."


def launch_job(*, job_id: int) -> None:
    """Ask the cluster for the job's current attempt. Safe to call twice: names are fixed and 409 means adopt.

    Raises Unavailable when the cluster cannot be reached: the task is tried again.
    """
    job = Job.objects.select_related(
        "project", "cluster", "resource_group", "template_version__template"
    ).filter(pk=job_id, status=JobStatus.QUEUED).first()  # fmt: skip
    if job is None:
        return  # launched by an earlier message, stopped, or deleted
    services.hold_for_launch(job_ids=[job_id])
    attempt = selectors.current_attempt(job)
    api = gateway.connect(job.cluster)
    try:
        tenancy = reconcile_namespace(project=job.project, cluster=job.cluster)
        plan = selectors.plan_for(job, attempt=attempt.number, has_workspace=tenancy.has_workspace)
        created = create(api, manifests.for_job(plan))
    except Unavailable:
        raise
    except Conflict as refusal:  # Many pods or jobs at once change one ResourceQuota: only the moment was wrong.
        raise Unavailable(str(refusal), status=refusal.status) from refusal
    except (Invalid, Forbidden, NotFound, AlreadyExists) as refusal:
        if refusal.status == 401 or forget_if_gone(refusal, project=job.project, cluster=job.cluster):
            # Not the job's fault: it waits until an operator has renewed the credentials, or the namespace is back.
            raise Unavailable(str(refusal), status=refusal.status) from refusal
        services.record_refused(job_id=job_id, reason=_reason_of(refusal), message=str(refusal))
        _remove_supports(api, _ref(attempt, selectors.namespace_name(job.project)))
        return
    except DomainError as refusal:
        services.record_refused(job_id=job_id, reason=Reason.REFUSED, message=str(refusal))
        return
    try:
        wanted = services.record_launched(
            job_id=job_id,
            attempt=attempt.number,
            object_uid=created["metadata"]["uid"],
            note="" if tenancy.has_workspace else NO_STORAGE,
        )
    except Job.DoesNotExist:  # stopped and deleted while the cluster was asked
        wanted = False
    if not wanted:
        remove(cluster=job.cluster, ref=ObjectRef.of(created))


def _reason_of(refusal: GatewayError) -> Reason:
    return Reason.QUOTA if "exceeded quota" in str(refusal) else Reason.REFUSED


def create(api: Gateway, wanted: list[Manifest]) -> Manifest:
    """Create supports, then the Job, then hand the supports to the Job for garbage collection."""
    *supports, job = wanted
    for support in supports:
        api.apply(support)
    created = _create_or_adopt(api, job)
    for support in supports:
        api.apply(manifests.owned_by(support, created))
    return created


def _create_or_adopt(api: Gateway, job: Manifest) -> Manifest:
    try:
        return api.create(job)
    except (AlreadyExists, Forbidden) as refusal:
        # Forbidden: a quota is asked before the name, and what fills it may be this very object.
        found = _existing(api, job, refusal)
    if found["metadata"].get("labels", {}).get(labels.UID) != job["metadata"]["labels"][labels.UID]:
        name = job["metadata"]["name"]
        raise AlreadyExists(f"A Job named {name} that Cube did not make is in the way.", status=409)
    return found


def _existing(api: Gateway, job: Manifest, refusal: GatewayError) -> Manifest:
    """The object that stands behind a refusal; else the refusal is raised as it is."""
    try:
        return api.get(ObjectRef.of(job))
    except NotFound:
        if isinstance(refusal, AlreadyExists):
            raise Unavailable("The object that was in the way is gone; trying again.") from None
        raise refusal from None


def remove(*, cluster: Cluster, ref: ObjectRef) -> None:
    """Foreground, so that the Job's disappearance means that its pods have ended."""
    gateway.connect(cluster).delete(ref, propagation="Foreground")


def remove_finished(*, cluster: Cluster, ref: ObjectRef) -> None:
    """The Job of an attempt that is over, and its supports: they belong to the Job only where the launcher lived long
    enough to say so. While a job still ends its workers need them, so this is not for a stopping one."""
    remove(cluster=cluster, ref=ref)
    _remove_supports(gateway.connect(cluster), ref)


def _remove_supports(api: Gateway, job: ObjectRef) -> None:
    for support in manifests.support_refs(job):
        api.delete(support)


def remove_attempts(*, job_id: int) -> None:
    """Make the cluster forget every attempt of a job that is stopping or stopped."""
    job = Job.objects.select_related("project", "cluster").filter(pk=job_id).first()
    if job is None or job.status not in {JobStatus.STOPPING, *FINISHED}:
        return
    namespace = selectors.namespace_name(job.project)
    forget = remove_finished if job.is_finished else remove
    for attempt in job.attempts.all():
        forget(cluster=job.cluster, ref=_ref(attempt, namespace))


def remove_all(*, cluster_id: int, namespace: str, job_uid: str) -> None:
    """Remove what a deleted job left behind; its rows are gone, so labels find it."""
    cluster = Cluster.objects.filter(pk=cluster_id).first()
    if cluster is None:
        return
    found = gateway.connect(cluster).list("batch/v1", "Job", namespace=namespace, labels={labels.UID: job_uid})
    for manifest in found.items:
        remove(cluster=cluster, ref=ObjectRef("batch/v1", "Job", manifest["metadata"]["name"], namespace))


def _ref(attempt: Attempt, namespace: str) -> ObjectRef:
    return ObjectRef("batch/v1", "Job", attempt.object_name, namespace)


def observe(*, job: Job, kind: str, manifest: Manifest, deleted: bool) -> None:
    """Take in one object of the job, seen by the watch or the sweep. Old and repeated sightings change nothing."""
    if kind == "Pod":
        services.record_pod(job_id=job.pk, facts=pod_facts(manifest), deleted=deleted)
        return
    facts = job_facts(manifest)
    if facts.outcome == "Complete":
        _read_outputs(job, facts.attempt, manifest)
        services.record_outcome(job_id=job.pk, attempt=facts.attempt, succeeded=True)
    elif facts.outcome == "Failed":
        _settle_failure(job, facts.attempt, manifest)
    elif deleted:
        services.record_gone(job_id=job.pk, attempt=facts.attempt)


def _read_outputs(job: Job, attempt: int, manifest: Manifest) -> None:
    """Before a job counts as ended, what it wrote is read where somebody waits for it: pods are watched apart."""
    if not job.needs_outputs or job.is_finished:
        return
    first = Q(rank=None) | Q(rank=0)
    if not Pod.objects.filter(first, attempt__job=job, attempt__number=attempt, exit_code=0).exists():
        _record_pods(job, attempt, manifest)


def _record_pods(job: Job, attempt: int, manifest: Manifest) -> list[PodFacts]:
    """Ask the cluster for an attempt's pods, and keep what they say."""
    mine: dict[str, Any] = {labels.UID: str(job.uid), labels.ATTEMPT: str(attempt)}
    found = gateway.connect(job.cluster).list("v1", "Pod", namespace=manifest["metadata"]["namespace"], labels=mine)
    pods = [pod_facts(pod) for pod in found.items]
    for pod in pods:
        services.record_pod(job_id=job.pk, facts=pod)
    return pods


def _settle_failure(job: Job, attempt: int, manifest: Manifest) -> None:
    """The pods tell why. They are read now: their own events may come after the Job's.

    A pod that was evicted or deleted may be gone by the time its Job has failed; what was seen of it still tells.
    """
    if job.is_finished:
        return
    pods = _record_pods(job, attempt, manifest)
    pods += _pods_seen(job, attempt, but={pod.uid for pod in pods})
    services.record_outcome(
        job_id=job.pk, attempt=attempt, succeeded=False, failure=failure_of(job_facts(manifest), pods)
    )


def _pods_seen(job: Job, attempt: int, *, but: set[str]) -> list[PodFacts]:
    """What is remembered of an attempt's pods, without those whose uids are in `but`."""
    rows = Pod.objects.filter(attempt__job=job, attempt__number=attempt).exclude(uid__in=but)
    kept = [name for name in PodFacts.__dataclass_fields__ if name not in {"attempt", "is_hopeless", "written"}]
    return [PodFacts(attempt=attempt, is_hopeless=False, **row) for row in rows.values(*kept)]
