"""Writes on jobs: one verb, one transaction. The network waits until the row is real.

Every verb here may be called twice or after a crash: names are fixed, transitions are checked under the row's lock,
and `sweep.py` finds what was left half done.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.accounts import audit
from apps.accounts.models import AuditEntry
from apps.core.bulk import insert_rows, update_rows
from apps.core.errors import InvalidInput, InvalidTransition
from apps.core.events import publish
from apps.quotas.selectors import namespace_name

from .choices import JobStatus, Reason
from .drafting import draft_job as draft_job
from .drafting import same_work
from .events import JobDeleted, JobQueued, JobsQueued, JobStatusChanged, PodChanged, StopRequested
from .models import Attempt, Job, JobEvent, JobQuerySet, Pod
from .observation import Failure, PodFacts, read_outputs
from .plan import Launched, object_name

MESSAGE_LENGTH = 2000
LEASE = timedelta(seconds=2)  # a launcher's, over the jobs it has taken; it is renewed while it lives
PHASES = {"Pending": 0, "Unknown": 1, "Running": 1, "Succeeded": 2, "Failed": 2}  # a pod never goes back


# -- what people ask for ----------------------------------------------------------------------------------------------
def submit_job(*, actor: Any, rerun_of: Job | None = None, debug_of: Job | None = None, **asked: Any) -> Job:
    """Queue a job (arguments as `draft_job`). Launching happens elsewhere, once it is saved.

    With `debug_of` it is a debug session: see `debugging.debug_job`.

    With a `uid` the call is idempotent: a form sent twice makes one job. Raises InvalidInput, also for a uid that is
    another project's. Everything is checked before the transaction begins, so that the database is locked for the
    writes alone: SQLite has one writer at a time.
    """
    job = draft_job(actor=actor, **asked)
    job.rerun_of = rerun_of
    job.debug_of, job.is_debug = debug_of, debug_of is not None
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
    _tell(job, _origin(job), actor=actor)
    action, detail = ("job.debug" if job.is_debug else "job.submit"), {"uid": str(job.uid)}
    if job.debug_of:
        detail["of"] = str(job.debug_of.uid)
    audit.record(actor=actor, action=action, target=job, project=job.project.slug, detail=detail)
    publish(JobQueued(job_id=job.pk))
    _announce(job)
    return job


def _origin(job: Job) -> str:
    if job.debug_of:
        return f"Started as a debug session of {job.debug_of.name}."
    return f"Submitted as a rerun of {job.rerun_of.name}." if job.rerun_of else "Submitted."


def submit_jobs(*, drafts: Sequence[Job]) -> list[Job]:
    """Queue many drafts (see `draft_job`) in a few statements, in their order; callable inside a caller's transaction.

    Idempotent by uid: where a draft's uid is a job of the same project already, that job is given back. Raises
    InvalidInput for the uid of another project's job; then nothing has changed.
    """
    known = {job.uid: job for job in Job.objects.filter(uid__in=[draft.uid for draft in drafts])}
    for place, draft in enumerate(drafts):
        if draft.uid in known and known[draft.uid].project_id != draft.project_id:
            raise InvalidInput({f"jobs[{place}].uid": "Another job has this uid. Leave it out, or make a new one."})
    with transaction.atomic(savepoint=False):
        _queue_all([draft for draft in drafts if draft.uid not in known])
    return [known.get(draft.uid, draft) for draft in drafts]


def _queue_all(fresh: list[Job]) -> None:
    now = timezone.now()
    insert_rows(fresh)
    insert_rows(_first_attempt(job) for job in fresh)
    insert_rows(
        JobEvent(job=job, at=now, status=job.status, text="Submitted.", actor=job.submitted_by) for job in fresh
    )
    insert_rows(_submission(job) for job in fresh)
    if fresh:
        publish(JobsQueued(job_ids=tuple(job.pk for job in fresh)))
    for job in fresh:
        _announce(job)


def _first_attempt(job: Job) -> Attempt:
    return Attempt(job=job, number=1, object_name=object_name(name=job.name, uid=str(job.uid), attempt=1))


def _submission(job: Job) -> AuditEntry:
    detail = {"uid": str(job.uid)}
    return audit.entry(actor=job.submitted_by, action="job.submit", target=job, project=job.project.slug, detail=detail)


def rerun_job(*, job: Job, actor: Any) -> Job:
    """The same job again: same template version, parameters and resources, a new log. The old one stays as it is.

    Raises InvalidTransition for a debug session: that is opened again from the job it debugs.
    """
    if job.is_debug:
        raise InvalidTransition(f"{job.name} is a debug session. Open another one from the job that it debugs.")
    return submit_job(
        **same_work(job),
        name=job.name,
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
    job = _locked(job.pk, "project", "cluster")
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
    job = _locked(job.pk, "project", "cluster")
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
    job = _locked(job_id, "cluster")
    Attempt.objects.filter(job=job, number=attempt).update(object_uid=object_uid)
    if attempt != _latest_number(job):  # A slow launcher: that attempt has ended, and the next has its own message.
        return True
    if job.status == JobStatus.QUEUED:
        _start(job, attempt, JobStatus.STARTING)
        _save(job, _sent(job.cluster.slug, note))
    return job.status in {JobStatus.STARTING, JobStatus.RUNNING}


@transaction.atomic
def record_launched_together(*, launched: Sequence[Launched]) -> frozenset[int]:
    """`record_launched` for first attempts of jobs that are still queued. Returns whose that was; the rest is left."""
    found = {one.job_id: one for one in launched}
    rows = Job.objects.select_for_update(of=("self",)).filter(pk__in=found, status=JobStatus.QUEUED).order_by("pk")
    jobs = list(rows.only("uid", "project_id", "status", "version"))
    attempts = {row.job_id: row for row in _attempts_of(jobs)}
    jobs = [job for job in jobs if attempts[job.pk].number == 1]
    now, told = timezone.now(), []
    for job in jobs:
        job.move_to(JobStatus.STARTING)
        job.updated_at, job.taken_until = now, None
        attempts[job.pk].status, attempts[job.pk].object_uid = JobStatus.STARTING, found[job.pk].object_uid
        told.append(JobEvent(job=job, at=now, status=job.status, text=_sent(found[job.pk].cluster, found[job.pk].note)))
        _announce(job)
    update_rows(jobs, ["status", "version", "updated_at", "taken_until"])
    update_rows([attempts[job.pk] for job in jobs], ["status", "object_uid"])
    insert_rows(told)
    return frozenset(job.pk for job in jobs)


def _attempts_of(jobs: Sequence[Job]) -> Iterable[Attempt]:
    """In their order, with what a launch changes."""
    return Attempt.objects.filter(job__in=jobs).order_by("number").only("job_id", "number", "status", "object_uid")


def _sent(cluster: str, note: str) -> str:
    return f"Sent to cluster {cluster}. {note}".rstrip()


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
    attempts = {attempt.number: attempt for attempt in job.attempts.all()}
    attempt = attempts.get(facts.attempt)
    if attempt is None:
        return
    if _upsert_pod(attempt, facts, deleted):
        publish(PodChanged(job_id=job.pk, job_uid=str(job.uid)))
        if job.needs_outputs and facts.written:
            _keep_outputs(attempt, facts.written)
    if attempt.number != max(attempts) or deleted:
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
def take_for_launch(*, jobs: JobQuerySet, limit: int) -> list[int]:
    """Ids of up to `limit` of the jobs, oldest first, which are the caller's for `LEASE` and no other launcher's.

    Whoever launches for longer says so with `hold_for_launch`; who dies has them for that long and no longer.
    """
    rows = jobs.select_for_update(of=("self",), skip_locked=True).order_by("pk").only("pk")
    ids = [job.pk for job in rows[:limit]]
    hold_for_launch(job_ids=ids)
    return ids


def hold_for_launch(*, job_ids: Collection[int], span: timedelta = LEASE) -> None:
    """Nobody else takes these jobs, as far as they are still queued, for that long."""
    if job_ids:
        Job.objects.filter(pk__in=job_ids, status=JobStatus.QUEUED).update(taken_until=timezone.now() + span)


# -- the pieces -------------------------------------------------------------------------------------------------------
def _locked(job_id: int, *related: str) -> Job:
    """The row under lock, with what it refers to where that is asked for: most verbs need none of it.

    Raises Job.DoesNotExist: a deleted job has nothing left to record.
    """
    rows = Job.objects.select_for_update(of=("self",))
    if related:
        rows = rows.select_related(*related)
    if "cluster" in related:
        rows = rows.defer("cluster__kubeconfig")  # which is encrypted, and nothing to a write
    return rows.get(pk=job_id)


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


def _keep_outputs(attempt: Attempt, text: str) -> None:
    outputs, problem = read_outputs(text)
    Attempt.objects.filter(pk=attempt.pk).update(outputs=outputs, outputs_problem=problem)


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
