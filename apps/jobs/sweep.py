"""The watch is for speed, the sweep is for truth: rows against the cluster, whatever was lost on the way."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import timedelta
from uuid import UUID

import structlog
from django.utils import timezone

from apps.clusters import gateway, labels
from apps.clusters.gateway import Gateway, GatewayError, Manifest, ObjectRef, Unavailable
from apps.clusters.models import Cluster
from apps.quotas.selectors import namespace_name

from . import launching, selectors, services
from .choices import JobStatus, Reason
from .models import Attempt, Job
from .observation import job_facts, pod_facts

Place = tuple[str, str]  # namespace and name of a Kubernetes Job, or namespace and uid of ours
logger = structlog.get_logger(__name__)
SETTLING = timedelta(seconds=60)  # younger rows and objects may still be under way
KEEP_FINISHED = timedelta(hours=1)  # for people with kubectl, and for whoever still reads a log
WAITING_PATIENCE = timedelta(minutes=10)  # Kubernetes would retry a missing image for ever
REMOVED_AT_ONCE = 200
# Events of a pod with a node and no container yet: pkg/kubelet/events and pkg/controller/volume/events of Kubernetes.
HANGS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"})


def sweep_cluster(*, cluster_id: int) -> dict[str, int]:
    """Compare every unfinished job of a cluster with its objects. Returns what was found, for the log.

    Raises Unavailable when the cluster cannot be reached; then nothing is concluded.
    """
    cluster = Cluster.objects.get(pk=cluster_id)
    # Rows first: what is launched while the cluster answers is missing in the answer, and must not count as gone.
    jobs = list(selectors.unfinished_on(cluster_id).select_related("project").prefetch_related("attempts"))
    api = gateway.connect(cluster)
    objects = {_place(m): m for m in api.list("batch/v1", "Job", labels=launching.OURS).items if _is_readable(m)}
    pods = _by_job(api.list("v1", "Pod", labels=launching.OURS).items)
    counts = {"observed": 0, "gone": 0, "failed": 0}
    for job in jobs:
        try:
            job.cluster = cluster
            counts[_compare(api, job, objects, pods)] += 1
        except Unavailable:
            raise
        except Exception:  # One job's trouble stays its own.
            logger.exception("a job could not be swept", job=str(job.uid))
            counts["failed"] += 1
    return {**counts, "removed": _remove_leftovers(cluster, objects.values())}


def _place(manifest: Manifest) -> Place:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _is_readable(manifest: Manifest) -> bool:
    """Others may write our labels on what is theirs: what no launcher of ours wrote is left alone."""
    held = manifest["metadata"].get("labels") or {}
    try:
        UUID(held.get(labels.UID, ""))
    except ValueError:
        return False
    return str(held.get(labels.ATTEMPT, "")).isdecimal()


def _by_job(pods: Iterable[Manifest]) -> dict[Place, list[Manifest]]:
    found: dict[Place, list[Manifest]] = defaultdict(list)
    for pod in filter(_is_readable, pods):
        found[pod["metadata"]["namespace"], pod["metadata"]["labels"][labels.UID]].append(pod)
    return found


def _compare(api: Gateway, job: Job, objects: dict[Place, Manifest], pods: dict[Place, list[Manifest]]) -> str:
    """Bring one job up to date; answers what was found."""
    namespace, attempt = namespace_name(job.project), list(job.attempts.all())[-1]
    found = objects.get((namespace, attempt.object_name))
    if found is not None:
        _catch_up(api, job, found, pods.get((namespace, str(job.uid)), []))
    elif job.updated_at < timezone.now() - SETTLING:
        services.record_gone(job_id=job.pk, attempt=attempt.number)
        return "gone"
    return "observed"


def _catch_up(api: Gateway, job: Job, found: Manifest, pods: list[Manifest]) -> None:
    """Do again what a lost event would have done."""
    launching.observe(job=job, kind="Job", manifest=found, deleted=False)
    if job.status == JobStatus.STOPPING:
        if not job_facts(found).is_deleting:
            launching.remove(cluster=job.cluster, ref=_ref(found))
        return
    for pod in pods:
        launching.observe(job=job, kind="Pod", manifest=pod, deleted=False)
    if not pods:
        _explain_missing_pods(api, job, found)
    elif hanging := _hanging(job, pods):
        _explain_hanging_pod(api, job, hanging)
    _give_up_on_hopeless(job, pods)


def _ref(manifest: Manifest) -> ObjectRef:
    namespace, name = _place(manifest)
    return ObjectRef("batch/v1", "Job", name, namespace)


def _explain_missing_pods(api: Gateway, job: Job, found: Manifest) -> None:
    """A Job whose pods the cluster refuses (quota, admission) stays silent but for its events."""
    if message := _warning(api, job, found, {"FailedCreate"}):
        reason = Reason.QUOTA if "exceeded quota" in message else Reason.REFUSED
        services.record_stuck(job_id=job.pk, reason=reason, message=message)


def _hanging(job: Job, pods: list[Manifest]) -> Manifest | None:
    """A pod that has had a node for a minute and says nothing of why it does not start."""
    if job.status != JobStatus.STARTING or job.updated_at > timezone.now() - SETTLING:
        return None
    seen = ((pod, pod_facts(pod)) for pod in pods)
    return next((pod for pod, facts in seen if facts.phase == "Pending" and facts.node and not facts.reason), None)


def _explain_hanging_pod(api: Gateway, job: Job, pod: Manifest) -> None:
    """A volume that another node still holds, a network that cannot be set up: only events tell. It may still come
    right by itself, so this is told and no reason to give up."""
    if message := _warning(api, job, pod, HANGS):
        services.record_stuck(job_id=job.pk, reason=Reason.NONE, message=message)


def _warning(api: Gateway, job: Job, about: Manifest, reasons: Collection[str]) -> str:
    """The latest warning about an object, of one of the given reasons; empty when there is none, or none to be read."""
    kind, (namespace, name) = about["kind"], _place(about)
    selector = f"involvedObject.kind={kind},involvedObject.name={name},type=Warning"
    try:
        events = api.list("v1", "Event", namespace=namespace, field_selector=selector).items
    except GatewayError as refusal:  # Not everybody lets Cube read events; the job waits without an explanation then.
        logger.warning("events cannot be read", cluster=job.cluster.slug, error=str(refusal))
        return ""
    told = [event for event in events if event.get("reason") in reasons]
    return max(told, key=_told_at).get("message", "") if told else ""


def _told_at(event: Manifest) -> str:
    """Events come in two forms: counted ones have a last time, others the time they were made."""
    return event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""


def _give_up_on_hopeless(job: Job, pods: list[Manifest]) -> None:
    """An image that could not be pulled for ten minutes will not come; say so instead of waiting for ever."""
    if not {job.reason, *(pod_facts(pod).reason for pod in pods)} & {Reason.IMAGE, Reason.START_ERROR}:
        return  # and so for nearly every job: no need to ask again
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


def _remove_leftovers(cluster: Cluster, objects: Iterable[Manifest]) -> int:
    """Remove what runs for nobody, its attempt being over, and what ended long ago. Returns how many.

    Objects of jobs this database does not know stay: it may have been restored from a backup.
    """
    uids = {manifest["metadata"]["labels"][labels.UID] for manifest in objects}
    closed = {
        (namespace_name(attempt.job.project), attempt.object_name): attempt
        for attempt in selectors.closed_attempts(uids, cluster_id=cluster.pk)
    }
    leftovers = [m for m in objects if (a := closed.get(_place(m))) and _may_go(m, a)][:REMOVED_AT_ONCE]
    for manifest in leftovers:
        logger.info("removing what is left of a job", cluster=cluster.slug, place=_place(manifest))
        launching.remove_finished(cluster=cluster, ref=_ref(manifest))
    return len(leftovers)


def _may_go(manifest: Manifest, attempt: Attempt) -> bool:
    """Judged by our own clock alone: the cluster's may be off."""
    facts = job_facts(manifest)
    patience = KEEP_FINISHED if facts.outcome else SETTLING
    return not facts.is_deleting and attempt.finished_at is not None and attempt.finished_at < timezone.now() - patience
