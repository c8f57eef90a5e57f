"""Writes on jobs: one verb, one transaction. The network waits until the row is real.

Every verb here may be called twice or after a crash: names are fixed, transitions are checked under the row's lock,
and `sweep.py` finds what was left half done.
"""

import uuid as uuids
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.accounts import audit
from apps.clusters import selectors as capacity
from apps.clusters.models import Cluster, ResourceGroup
from apps.clusters.quantities import Resources
from apps.core.errors import InvalidInput, InvalidTransition
from apps.core.events import publish
from apps.jobtemplates import rendering
from apps.jobtemplates.models import TemplateVersion
from apps.jobtemplates.params import secrets_asked
from apps.jobtemplates.schema import clean_params
from apps.projects.models import Project
from apps.projects.selectors import secret_references
from apps.quotas.selectors import namespace_name

from . import selectors
from .choices import JobStatus, Reason
from .events import JobDeleted, JobQueued, JobStatusChanged, PodChanged, StopRequested
from .models import Attempt, Job, JobEvent, Pod
from .observation import Failure, PodFacts
from .plan import object_name

MESSAGE_LENGTH = 2000
PHASES = {"Pending": 0, "Unknown": 1, "Running": 1, "Succeeded": 2, "Failed": 2}  # a pod never goes back
WRITTEN = frozenset({"name", "priority", "max_retries", "time_limit_seconds"})  # fields that people fill in as they are


# -- what people ask for ----------------------------------------------------------------------------------------------
def draft_job(
    *,
    project: Project,
    name: str,
    template_version: TemplateVersion,
    params: Mapping[str, Any],
    resources: Mapping[str, Any] | None = None,
    priority: int = 0,
    cluster: Cluster | None = None,
    resource_group: ResourceGroup | None = None,
    max_retries: int = 0,
    time_limit_seconds: int | None = None,
    uid: uuids.UUID | None = None,
    actor: Any = None,
) -> Job:
    """A checked job that is not saved yet: what a preview shows and `submit_job` saves.

    Raises InvalidInput naming every bad field (`name`, `params.<x>`, `resources.<x>`, `cluster`, …).
    """
    errors: dict[str, str | list[str]] = {}
    cleaned, asked = {}, None
    try:
        cleaned = clean_params(template_version.schema, dict(params))
        rendering.render(template_version.body, cleaned)  # says no now rather than when it is launched
    except InvalidInput as refusal:
        errors.update(refusal.fields)
    if secrets := list(secrets_asked(template_version.schema, cleaned)):
        known = set(secret_references(project))
        for place, reference in secrets:
            if reference not in known:  # A pod would wait for it until somebody looks.
                errors[f"params.{place}"] = f"The project has no secret {reference}."
    try:
        asked = Resources.parse(resources)
    except InvalidInput as refusal:
        errors.update(refusal.fields)
    cluster = cluster or capacity.default_cluster()
    if cluster is None:
        errors["cluster"] = "No cluster is registered and enabled yet. Ask a platform admin to add one."
    elif not cluster.is_enabled:
        errors["cluster"] = f"Cluster {cluster.slug} takes no new work at the moment."
    elif resource_group and resource_group.cluster_id != cluster.pk:
        errors["resource_group"] = f"It belongs to another cluster than {cluster.slug}."
    job = Job(
        project=project,
        name=name,
        template_version=template_version,
        params=cleaned,
        resources=asked.as_dict() if asked else {},
        priority=priority,
        cluster=cluster,
        resource_group=resource_group,
        max_retries=max_retries,
        time_limit_seconds=time_limit_seconds,
        submitted_by=actor,
        uid=uid or uuids.uuid4(),
    )
    try:
        job.clean_fields(exclude=[f.name for f in Job._meta.fields if f.name not in WRITTEN])
    except ValidationError as refusal:
        errors.update(refusal.message_dict)
    if errors:
        raise InvalidInput(errors)
    return job


def submit_job(*, actor: Any, rerun_of: Job | None = None, **asked: Any) -> Job:
    """Queue a job (arguments as `draft_job`). Launching happens elsewhere, once it is saved.

    With a `uid` the call is idempotent: a form sent twice makes one job. Raises InvalidInput, also for a uid that is
    another project's. Everything is checked before the transaction begins, so that the database is locked for the
    writes alone: SQLite has one writer at a time.
    """
    job = draft_job(actor=actor, **asked)
    job.rerun_of = rerun_of
    try:
        return _queue(job, actor=actor)
    except IntegrityError:  # Only a uid that is given can be taken.
        twin = Job.objects.filter(uid=job.uid, project=job.project).first()
        if twin is None:
            raise InvalidInput({"uid": "Another job has this uid. Leave it out, or make a new one."}) from None
        return twin


@transaction.atomic
def _queue(job: Job, *, actor: Any) -> Job:
    job.save(force_insert=True)
    _add_attempt(job, number=1)
    _tell(job, f"Submitted as a rerun of {job.rerun_of.name}." if job.rerun_of else "Submitted.", actor=actor)
    audit.record(actor=actor, action="job.submit", target=job, project=job.project.slug, detail={"uid": str(job.uid)})
    publish(JobQueued(job_id=job.pk))
    _announce(job)
    return job


def rerun_job(*, job: Job, actor: Any) -> Job:
    """The same job again: same template version, parameters and resources, a new log. The old one stays as it is."""
    return submit_job(
        project=job.project,
        name=job.name,
        template_version=job.template_version,
        params=job.params,
        resources=job.resources,
        priority=job.priority,
        cluster=job.cluster,
        resource_group=job.resource_group,
        max_retries=job.max_retries,
        time_limit_seconds=job.time_limit_seconds,
        actor=actor,
        rerun_of=job,
    )


@transaction.atomic
def stop_job(*, job: Job, actor: Any) -> Job:
    """Stop politely: a queued job ends here; a running one is asked to (SIGTERM) and confirms later.

    Stopping twice is fine. Raises InvalidTransition when the job has finished.
    """
    job = _locked(job.pk)
    if job.status == JobStatus.STOPPING:
        return job
    if job.is_finished:
        raise InvalidTransition(f"{job.name} has already finished: {job.get_status_display().lower()}.")
    audit.record(actor=actor, action="job.stop", target=job, project=job.project.slug, detail={"uid": str(job.uid)})
    if job.status == JobStatus.QUEUED:
        _finish(job, JobStatus.STOPPED, Failure(Reason.STOPPED, "Stopped before it started.", None), actor=actor)
    else:
        job.move_to(JobStatus.STOPPING)
        _save(job, "Asked to stop.", actor=actor)
    publish(StopRequested(job_id=job.pk))  # also for a queued one: a launch may be under way
    return job


@transaction.atomic
def delete_job(*, job: Job, actor: Any) -> None:
    """Remove a finished job, its history and (through handlers) its log. Raises InvalidTransition while it runs."""
    job = _locked(job.pk)
    if not job.is_finished:
        raise InvalidTransition(f"{job.name} is still {job.get_status_display().lower()}. Stop it before deleting it.")
    audit.record(actor=actor, action="job.delete", target=job, project=job.project.slug, detail={"uid": str(job.uid)})
    publish(
        JobDeleted(
            job_uid=str(job.uid),
            project_id=job.project_id,
            cluster_id=job.cluster_id,
            namespace=namespace_name(job.project),
        )
    )
    job.delete()


# -- what the machine learned -----------------------------------------------------------------------------------------
@transaction.atomic
def record_launched(*, job_id: int, attempt: int, object_uid: str, note: str = "") -> bool:
    """The cluster has the attempt's Job. Returns False when the job ended meanwhile, so the object must go again."""
    job = _locked(job_id)
    Attempt.objects.filter(job=job, number=attempt).update(object_uid=object_uid)
    if attempt != _latest_number(job):  # A slow launcher: that attempt has ended, and the next has its own message.
        return True
    if job.status == JobStatus.QUEUED:
        _start(job, attempt, JobStatus.STARTING)
        _save(job, " ".join(filter(None, [f"Sent to cluster {job.cluster.slug}.", note])))
    return job.status in {JobStatus.STARTING, JobStatus.RUNNING}


@transaction.atomic
def record_refused(*, job_id: int, reason: Reason, message: str) -> None:
    """The cluster will not take the job, however often it is asked."""
    job = _locked(job_id)
    if not job.is_finished:
        _finish(job, JobStatus.FAILED, Failure(reason, message, None))


@transaction.atomic
def record_pod(*, job_id: int, facts: PodFacts, deleted: bool = False) -> None:
    """Keep what is known of a pod, and let the first running one start the job."""
    job = _locked(job_id)
    attempt = job.attempts.filter(number=facts.attempt).first()
    if attempt is None:
        return
    if _upsert_pod(attempt, facts, deleted):
        publish(PodChanged(job_id=job.pk, job_uid=str(job.uid)))
    if attempt.number != _latest_number(job) or deleted:
        return
    if job.is_finished:
        _note_late_start(job, facts)
        return
    if (facts.is_running or facts.has_ended) and job.status in {JobStatus.QUEUED, JobStatus.STARTING}:
        job.started_at = facts.started_at or timezone.now()
        _start(job, attempt.number, JobStatus.RUNNING)
        job.reason, job.message = "", ""
        _save(job, f"Running on node {facts.node}." if facts.node else "Running.")
    elif facts.is_hopeless and job.status != JobStatus.STOPPING:
        _overtake_launcher(job, attempt.number)
        _fail(job, Failure(facts.reason, facts.message, None))
    elif job.status == JobStatus.STARTING and facts.phase == "Pending" and facts.reason:
        record_waiting(job=job, reason=facts.reason, message=facts.message)


def record_waiting(*, job: Job, reason: str, message: str) -> None:
    """Say why a starting job does not run yet. Call it with the row locked; repeats change nothing."""
    message = message[:MESSAGE_LENGTH]
    if (job.reason, job.message) == (reason, message):
        return
    told_before = job.reason == reason
    job.reason, job.message = reason, message
    job.version += 1
    _save(job, "" if told_before else f"Waiting: {message or Reason(reason).label}", reason=reason)


@transaction.atomic
def record_stuck(*, job_id: int, reason: str, message: str) -> None:
    """The cluster accepted the job but makes no pods of it: tell the reason, keep waiting."""
    job = _locked(job_id)
    if job.status == JobStatus.STARTING:
        record_waiting(job=job, reason=reason, message=message)


@transaction.atomic
def record_outcome(*, job_id: int, attempt: int, succeeded: bool, failure: Failure | None = None) -> None:
    """An attempt ended. A failed one is tried again while the job allows it; a stopping job is stopped."""
    job = _locked(job_id)
    if job.is_finished or attempt != _latest_number(job):
        return
    _overtake_launcher(job, attempt)
    if succeeded:
        _finish(job, JobStatus.SUCCEEDED, Failure(Reason.COMPLETED, "", 0))
    elif job.status == JobStatus.STOPPING:
        _finish(job, JobStatus.STOPPED, Failure(Reason.STOPPED, "", None))
    else:
        _fail(job, failure or Failure(Reason.ERROR, "", None))


@transaction.atomic
def record_gone(*, job_id: int, attempt: int) -> None:
    """The attempt's object is no longer in the cluster though the job had not finished."""
    job = _locked(job_id)
    if job.is_finished or job.status == JobStatus.QUEUED or attempt != _latest_number(job):
        return
    if job.status == JobStatus.STOPPING:
        _finish(job, JobStatus.STOPPED, Failure(Reason.STOPPED, "", None))
    else:
        text = "It is no longer in the cluster: somebody deleted it, or it ended while Cube was away for days."
        _fail(job, Failure(Reason.LOST, text, None))


@transaction.atomic
def claim_forgotten(*, limit: int) -> list[int]:
    """Ids of queued jobs whose launch message seems lost. Each is given out at most once per `PATIENCE`."""
    ids = list(selectors.forgotten_in_queue().order_by("id").values_list("id", flat=True)[:limit])
    Job.objects.filter(pk__in=ids).update(updated_at=timezone.now())
    return ids


# -- the pieces -------------------------------------------------------------------------------------------------------
def _locked(job_id: int) -> Job:
    """The row under lock. Raises Job.DoesNotExist: a deleted job has nothing left to record."""
    rows = Job.objects.select_for_update(of=("self",)).select_related("project", "cluster")
    return rows.defer("cluster__kubeconfig").get(pk=job_id)  # which is encrypted, and nothing to a write


def _latest_number(job: Job) -> int:
    return job.attempts.order_by("-number").values_list("number", flat=True)[0]


def _add_attempt(job: Job, *, number: int) -> Attempt:
    return Attempt.objects.create(
        job=job, number=number, object_name=object_name(name=job.name, uid=str(job.uid), attempt=number)
    )


def _start(job: Job, attempt: int, status: JobStatus) -> None:
    if status == JobStatus.RUNNING:
        _overtake_launcher(job, attempt)
    job.move_to(status)
    Attempt.objects.filter(job=job, number=attempt).update(status=status, started_at=job.started_at)


def _overtake_launcher(job: Job, attempt: int) -> None:
    """The watch may be quicker than the launcher, or the launcher may have died: what was seen has been launched."""
    if job.status == JobStatus.QUEUED:
        _start(job, attempt, JobStatus.STARTING)


def _note_late_start(job: Job, facts: PodFacts) -> None:
    """Jobs and pods are watched apart: a short job's end may be told before its pod's beginning."""
    if job.started_at is None and facts.started_at is not None:
        job.started_at = facts.started_at
        job.version += 1
        Attempt.objects.filter(job=job, number=facts.attempt).update(started_at=facts.started_at)
        _save(job, "")


def _fail(job: Job, failure: Failure) -> None:
    number = _latest_number(job)
    if number > job.max_retries:
        _finish(job, JobStatus.FAILED, failure)
        return
    _close_attempt(job, JobStatus.FAILED, failure)
    job.move_to(JobStatus.QUEUED)
    job.started_at = None
    _add_attempt(job, number=number + 1)
    why = failure.message or failure.reason
    text = f"Attempt {number} failed: {why} Trying again ({number + 1} of {job.max_retries + 1})."
    _save(job, text, reason=failure.reason)
    publish(JobQueued(job_id=job.pk))


def _finish(job: Job, status: JobStatus, failure: Failure, *, actor: Any = None) -> None:
    job.move_to(status)
    job.reason, job.message, job.exit_code = failure.reason, failure.message[:MESSAGE_LENGTH], failure.exit_code
    job.finished_at = timezone.now()
    _close_attempt(job, status, failure)
    _save(job, failure.message or str(JobStatus(status).label) + ".", reason=_worth_telling(failure), actor=actor)


def _worth_telling(failure: Failure) -> str:
    """The timeline says a reason only where the text beside it does not."""
    return "" if failure.reason in {Reason.COMPLETED, Reason.STOPPED} else failure.reason


def _close_attempt(job: Job, status: JobStatus, failure: Failure) -> None:
    Attempt.objects.filter(job=job, number=_latest_number(job)).update(
        status=status,
        reason=failure.reason,
        message=failure.message[:MESSAGE_LENGTH],
        exit_code=failure.exit_code,
        started_at=job.started_at,
        finished_at=timezone.now(),
    )


def _save(job: Job, text: str, *, reason: str = "", actor: Any = None) -> None:
    job.save(
        update_fields=[
            "status", "version", "reason", "message", "exit_code", "started_at", "finished_at", "updated_at",
        ]
    )  # fmt: skip
    if text:
        _tell(job, text, reason=reason, actor=actor)
    _announce(job)


def _tell(job: Job, text: str, *, reason: str = "", actor: Any = None) -> None:
    JobEvent.objects.create(
        job=job, at=timezone.now(), status=job.status, reason=reason, text=text[:MESSAGE_LENGTH], actor=actor
    )


def _announce(job: Job) -> None:
    publish(
        JobStatusChanged(
            job_id=job.pk, job_uid=str(job.uid), project_id=job.project_id, status=job.status, version=job.version
        )
    )


def _upsert_pod(attempt: Attempt, facts: PodFacts, deleted: bool) -> bool:
    """Returns whether anything is new."""
    known = Pod.objects.filter(attempt=attempt, uid=facts.uid).first()
    if known is None:
        # The controller may replace a pod before its own row arrives; rows are never removed, so history stays.
        known = Pod(attempt=attempt, uid=facts.uid, name=facts.name)
    elif PHASES.get(facts.phase, 0) < PHASES.get(known.phase, 0):
        return False  # an old message that came late
    values = {
        "rank": facts.rank,
        "node": facts.node,
        "phase": facts.phase,
        "reason": facts.reason,
        "message": facts.message,
        "exit_code": facts.exit_code,
        "restarts": facts.restarts,
        "started_at": facts.started_at,
        "finished_at": facts.finished_at,
    }
    if deleted and known.deleted_at is None:
        values["deleted_at"] = timezone.now()
    changed = known.pk is None or any(getattr(known, name) != value for name, value in values.items())
    if changed:
        for name, value in values.items():
            setattr(known, name, value)
        known.save()
    return changed
