"""The watch is for speed, the sweep is for truth: rows against the cluster, whatever was lost on the way."""

from datetime import timedelta

import structlog
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from apps.clusters import gateway, labels
from apps.clusters.gateway import Gateway, Manifest, ObjectRef
from apps.clusters.models import Cluster

from . import launching, selectors, services
from .choices import FINISHED, JobStatus, Reason
from .models import Job
from .observation import job_facts

logger = structlog.get_logger(__name__)
SETTLING = timedelta(seconds=60)  # younger rows and objects may still be under way
WAITING_PATIENCE = timedelta(minutes=10)  # Kubernetes would retry a missing image for ever


def sweep_cluster(*, cluster_id: int) -> dict[str, int]:
    """Compare every unfinished job of a cluster with its objects. Returns what was found, for the log.

    Raises Unavailable when the cluster cannot be reached; then nothing is concluded.
    """
    cluster = Cluster.objects.get(pk=cluster_id)
    api = gateway.connect(cluster)
    objects = {m["metadata"]["name"]: m for m in api.list("batch/v1", "Job", labels=launching.OURS).items}
    counts = {"observed": 0, "gone": 0, "strays": _remove_strays(cluster, objects)}
    for job in selectors.unfinished_on(cluster_id).select_related("project", "cluster"):
        attempt = selectors.current_attempt(job)
        found = objects.get(attempt.object_name)
        if found is not None:
            _catch_up(api, job, found)
            counts["observed"] += 1
        elif job.updated_at < timezone.now() - SETTLING:
            services.record_gone(job_id=job.pk, attempt=attempt.number)
            counts["gone"] += 1
    return counts


def _catch_up(api: Gateway, job: Job, found: Manifest) -> None:
    """Do again what a lost event would have done."""
    launching.observe(job=job, kind="Job", manifest=found, deleted=False)
    if job.status == JobStatus.STOPPING:
        if not job_facts(found).is_deleting:
            launching.remove(cluster=job.cluster, ref=ObjectRef.of({**found, "apiVersion": "batch/v1", "kind": "Job"}))
        return
    namespace = found["metadata"]["namespace"]
    pods = api.list("v1", "Pod", namespace=namespace, labels={labels.UID: str(job.uid)}).items
    for pod in pods:
        launching.observe(job=job, kind="Pod", manifest=pod, deleted=False)
    if not pods:
        _explain_missing_pods(api, job, found)
    _give_up_on_hopeless(job)


def _explain_missing_pods(api: Gateway, job: Job, found: Manifest) -> None:
    """A Job whose pods the cluster refuses (quota, admission) stays silent but for its events."""
    meta = found["metadata"]
    selector = f"involvedObject.kind=Job,involvedObject.name={meta['name']},type=Warning"
    events = api.list("v1", "Event", namespace=meta["namespace"], field_selector=selector).items
    refused = [e for e in events if e.get("reason") == "FailedCreate"]
    if refused:
        message = refused[-1].get("message", "")
        reason = Reason.QUOTA if "exceeded quota" in message else Reason.REFUSED
        services.record_stuck(job_id=job.pk, reason=reason, message=message)


def _give_up_on_hopeless(job: Job) -> None:
    """An image that could not be pulled for ten minutes will not come; say so instead of waiting for ever."""
    job.refresh_from_db(fields=["status", "reason", "message"])
    waiting_since = job.events.order_by("-id").values_list("at", flat=True).first()
    if (
        job.status == JobStatus.STARTING
        and job.reason in {Reason.IMAGE, Reason.START_ERROR}
        and waiting_since
        and waiting_since < timezone.now() - WAITING_PATIENCE
    ):
        services.record_refused(job_id=job.pk, reason=Reason(job.reason), message=job.message)
        launching.remove_attempts(job_id=job.pk)


def _remove_strays(cluster: Cluster, objects: dict[str, Manifest]) -> int:
    """Objects that run for nobody: their job finished, or does not exist in this database."""
    by_uid = {m["metadata"]["labels"][labels.UID]: m for m in objects.values() if _is_old_and_unfinished(m)}
    statuses = selectors.known_uids(set(by_uid))
    strays = [m for uid, m in by_uid.items() if statuses.get(uid) in FINISHED]
    for manifest in strays:
        meta = manifest["metadata"]
        logger.warning("removing a stray job", cluster=cluster.slug, name=meta["name"], namespace=meta["namespace"])
        launching.remove(cluster=cluster, ref=ObjectRef("batch/v1", "Job", meta["name"], meta["namespace"]))
    return len(strays)


def _is_old_and_unfinished(manifest: Manifest) -> bool:
    meta = manifest["metadata"]
    created = parse_datetime(meta.get("creationTimestamp") or "")
    facts = job_facts(manifest)
    return (
        labels.UID in meta.get("labels", {})
        and not facts.outcome
        and not facts.is_deleting
        and created is not None
        and created < timezone.now() - SETTLING
    )
