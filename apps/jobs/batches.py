"""Launching many jobs at once: rows are read and written together, and the cluster is asked by several threads.

What is not the plain case (a refusal, a job that is no longer queued, a second attempt) goes the way of one job.
Jobs are held for moments while their launcher lives, so that those of a dead one are found in seconds, and those of
a slow one are not launched by others beside it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

import structlog

from apps.clusters import gateway
from apps.clusters.gateway import Gateway, GatewayError, Manifest
from apps.clusters.models import Cluster
from apps.core.errors import DomainError
from apps.projects.models import Project
from apps.quotas.models import TenantNamespace
from apps.quotas.services import reconcile_namespace

from . import launching, manifests, selectors, services
from .choices import JobStatus
from .models import Job
from .plan import Launched

THREADS = 8  # requests to a cluster at a time, of one worker
TOGETHER = 100  # jobs a message: a burst is spread over workers
RENEWED_SECONDS = 0.7  # several times within a lease
PATIENCE = timedelta(seconds=15)  # before a job that could not be launched is asked for again


Asked = tuple[Job, Gateway, list[Manifest], str]
logger = structlog.get_logger(__name__)


def launch_jobs(*, job_ids: Sequence[int]) -> list[int]:
    """Launch first attempts together. Returns those that have to be launched one by one, which says why they cannot.

    What another launcher has at the moment is left to it. These are not marked as taken until the cluster proves slow:
    nearly always they are launched by then, and a burst is spared a write of every row.
    """
    return _launch(selectors.for_launch(selectors.free_in_queue().filter(pk__in=job_ids)))


def launch_lost() -> tuple[list[int], bool]:
    """Launch jobs whose message seems lost. Returns those to be launched one by one, and whether there may be more."""
    lost = selectors.lost_in_queue()
    if not lost.exists():  # Nearly always; nothing is locked for it.
        return [], False
    taken = services.take_for_launch(jobs=lost, limit=TOGETHER)
    try:
        left = _launch(selectors.for_launch(Job.objects.filter(pk__in=taken, status=JobStatus.QUEUED)))
    except Exception:  # One job's trouble stays its own: each is tried alone, and not every second.
        logger.exception("jobs could not be launched together", job_ids=taken)
        left = taken
        services.hold_for_launch(job_ids=left, span=PATIENCE)
    return left, len(taken) == TOGETHER


def _launch(jobs: Sequence[Any]) -> list[int]:
    left: list[int] = []
    asked: list[Asked] = []
    places: dict[tuple[int, int], TenantNamespace | None] = {}
    for job in jobs:
        if job.is_retried:
            left.append(job.pk)
            continue
        tenancy = _tenancy(places, job.project, job.cluster)
        try:
            prepared = _prepared(job, tenancy) if tenancy else None
        except DomainError:
            prepared = None
        if prepared is None:
            left.append(job.pk)
        else:
            asked.append(prepared)
    answers = _create_all(asked)
    launched = [
        Launched(job.pk, job.cluster.slug, answer, note)
        for (job, _api, _wanted, note), answer in zip(asked, answers, strict=True)
        if answer
    ]
    done = services.record_launched_together(launched=launched)
    left += [job.pk for job, *_rest in asked if job.pk not in done]
    services.hold_for_launch(job_ids=left, span=PATIENCE)
    return left


def _tenancy(
    known: dict[tuple[int, int], TenantNamespace | None], project: Project, cluster: Cluster
) -> TenantNamespace | None:
    """None where the namespace cannot be had now."""
    key = (project.pk, cluster.pk)
    if key not in known:
        try:
            known[key] = reconcile_namespace(project=project, cluster=cluster)
        except (GatewayError, DomainError):
            known[key] = None
    return known[key]


def _prepared(job: Job, tenancy: TenantNamespace) -> Asked:
    plan = selectors.plan_for(job, attempt=1, has_workspace=tenancy.has_workspace)
    note = "" if tenancy.has_workspace else launching.NO_STORAGE
    return job, gateway.connect(job.cluster), manifests.for_job(plan), note


def _create_all(asked: list[Asked]) -> list[str]:
    """As `_create` answers for each; meanwhile nobody else takes these jobs."""
    with ThreadPoolExecutor(THREADS) as pool:
        answers = [pool.submit(_create, one) for one in asked]
        while wait(answers, timeout=RENEWED_SECONDS).not_done:
            services.hold_for_launch(job_ids=[job.pk for job, *_rest in asked])
    return [answer.result() for answer in answers]


def _create(asked: Asked) -> str:
    """The uid of what was created or adopted; empty when the cluster refused. Touches no database: it is a thread."""
    _job, api, wanted, _note = asked
    try:
        return str(launching.create(api, wanted)["metadata"]["uid"])
    except GatewayError:
        return ""
