"""Ready tasks become jobs: parameters evaluated, drafted, and queued together in the pass that says so.

Task and job change in one transaction, and a job's uid follows from its task and try, so that a launch that comes twice
is one job.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from math import inf
from typing import Any

from django.db.models import Q
from django.utils.crypto import salted_hmac
from django.utils.text import slugify
from django.utils.translation import gettext as _

from apps.clusters import selectors as capacity
from apps.clusters.models import Cluster, ResourceGroup
from apps.clusters.quantities import Resources, parse_quantity
from apps.core.errors import InvalidInput
from apps.jobs import services as jobs
from apps.jobs.models import Job
from apps.jobtemplates.models import TemplateVersion
from apps.jobtemplates.params import Kind, params_of

from . import selectors
from .choices import TaskStatus, Why
from .expressions import ExpressionError, Values, resolve
from .graph.judging import Reference
from .graph.plan import Task
from .models import TaskRun
from .news import count_item
from .opening import fail, outputs_for, run_values
from .passes import Pass

BATCH = 100  # jobs a pass
FRESH_SECONDS = 2  # that clusters and template versions are kept
MEBIBYTE = 1024 * 1024


class Places:
    """Clusters by slug, read once a pass, and the resource groups of those where one is asked for."""

    def __init__(self) -> None:
        clusters = capacity.usable_clusters().defer("kubeconfig", "capabilities")
        self.clusters = {cluster.slug: cluster for cluster in clusters}
        self.groups: dict[tuple[int, str], ResourceGroup | None] = {}
        ranked = sorted(self.clusters.values(), key=lambda cluster: (not cluster.is_default, cluster.slug))
        self.default = ranked[0] if ranked and (ranked[0].is_default or len(ranked) == 1) else None

    def find(self, task: Task) -> tuple[Cluster | None, ResourceGroup | None]:
        """Raises InvalidInput for what is no longer there."""
        slug, group = task.definition.get("cluster"), task.definition.get("resource_group")
        cluster = self.clusters.get(slug) if slug else self.default
        if slug and cluster is None:
            raise InvalidInput({"cluster": _("There is no such cluster, or it takes no new work.")})
        if not group or cluster is None:
            return cluster, None
        if (cluster.pk, group) not in self.groups:
            self.groups[cluster.pk, group] = cluster.resource_groups.filter(slug=group).first()
        if (found := self.groups[cluster.pk, group]) is None:
            raise InvalidInput({"resource_group": _("There is no such resource group on that cluster.")})
        return cluster, found


@lru_cache(maxsize=1)
def places_now(moment: int) -> Places:
    """Kept for a moment: hundreds of passes a second ask. A cluster that was closed gets tasks for so long at most."""
    return Places()


def submit_ready(looks: Sequence[Pass]) -> set[int]:
    """Make jobs of as many ready tasks of each run as there is room for. Returns the runs that may have more."""
    more, drafts = set(), []
    for look in looks:
        room = min(BATCH, look.run.parallelism - look.run.active_tasks)
        rows = _ready(look, room) if room > 0 and look.run.ready_tasks else []
        if rows:
            look.keep(row for row in rows if not row.is_item)
            drafts += _drafts(look, rows)
        if len(rows) == BATCH:
            more.add(look.run.pk)
    if drafts:
        _queue(drafts)
    return more


def _ready(look: Pass, room: int) -> list[TaskRun]:
    """The most urgent ready tasks: those in the database, and those this pass has made ready."""
    known = {**look.written, **look.changed}
    mine = [row for row in (*known.values(), *look.made) if row.status == TaskStatus.READY]
    due = [row for row in mine if row.due_at is None or row.due_at <= look.now]
    if look.run.ready_tasks == len(mine):
        return sorted(due, key=_urgency)[:room]
    is_due = Q(due_at=None) | Q(due_at__lte=look.now)
    stored = look.rows().filter(is_due, status=TaskStatus.READY).exclude(pk__in=list(known))
    rows = list(stored.defer(None).defer("params", "outputs").order_by("-priority", "id")[:room])
    return sorted([*rows, *due], key=_urgency)[:room]


def _urgency(row: TaskRun) -> tuple[int, float]:
    """New rows have no key yet: they come last of their priority, in the order in which they are saved."""
    return -row.priority, row.pk or inf


Draft = tuple[Pass, TaskRun, Job]


def _drafts(look: Pass, rows: list[TaskRun]) -> list[Draft]:
    """Checked jobs for these tasks; a task that gives none has failed."""
    tasks = {row.key: look.plan.tasks[row.key] for row in rows}
    templates = _templates(look, {task.reference for task in tasks.values()})
    outputs, places = outputs_for(look, tasks.values()), places_now(int(time.monotonic() / FRESH_SECONDS))
    drafts: list[Draft] = []
    for row in rows:
        try:
            drafts.append((look, row, _draft(look, row, tasks[row.key], templates, places, outputs)))
        except ExpressionError as refusal:
            _give_up(look, row, Why.EXPRESSION, str(refusal))
        except InvalidInput as refusal:
            _give_up(look, row, Why.INVALID, str(refusal))
    return drafts


def _templates(look: Pass, references: set[Reference]) -> Mapping[Reference, TemplateVersion]:
    """The pinned template versions, kept with the plan for a moment. One that is deleted within it refuses the job's
    row, and the pass is done again later, when it is known."""
    moment = int(time.monotonic() / FRESH_SECONDS)
    if look.plan.templates.get("moment") != moment:
        look.plan.templates = {"moment": moment}
    kept = look.plan.templates
    if missing := references - kept.keys():
        kept |= selectors.pinned_versions(missing)
    return kept


def _give_up(look: Pass, row: TaskRun, reason: str, message: str) -> None:
    fail(look, row, reason, message)
    if row.is_item:
        look.load([row.key])
        count_item(look, row)


def _queue(drafts: list[Draft]) -> None:
    queued = jobs.submit_jobs(drafts=[job for _look, _row, job in drafts])
    for (look, row, _draft), job in zip(drafts, queued, strict=True):
        row.tries += 1
        row.job, row.params, row.due_at = job, job.params, None
        look.move(row, TaskStatus.SUBMITTED)
        look.submitted.append((row, job))


def _draft(
    look: Pass,
    row: TaskRun,
    task: Task,
    templates: Mapping[Reference, TemplateVersion],
    places: Places,
    outputs: Mapping[str, Any],
) -> Job:
    version = templates.get(task.reference)
    if version is None:
        raise InvalidInput({"template": _("%(name)s is gone.") % {"name": task.definition["template"]}})
    cluster, group = places.find(task)
    values = Values(
        params=look.run.params,
        outputs=outputs,
        run=run_values(look.run),
        item=row.item,
        index=row.index if row.is_item else None,
    )
    return jobs.draft_job(
        project=look.run.project,
        name=job_name(look.run.pipeline.name, row),
        template_version=version,
        params=_params(task, version, values),
        resources=raised(task.definition.get("resources"), row.memory_factor),
        priority=row.priority,
        cluster=cluster,
        resource_group=group,
        time_limit_seconds=task.definition.get("timeout_seconds"),
        needs_outputs=True,
        uid=job_uid(look.run.uid, row, row.tries + 1),
        actor=look.run.started_by,
    )


def _params(task: Task, version: TemplateVersion, values: Values) -> dict[str, Any]:
    """Code stays as it was written: no value becomes part of a program."""
    literal = {param.name for param in params_of(version.schema) if param.kind is Kind.CODE}
    given = task.definition.get("params", {})
    made = {}
    for name, value in given.items():
        try:
            made[name] = value if name in literal else resolve(value, values)
        except ExpressionError as refusal:
            raise ExpressionError(f"params.{name}: {refusal}") from None
    return made


def job_uid(run_uid: uuid.UUID, row: TaskRun, number: int) -> uuid.UUID:
    """The same for the same try, and nothing anybody outside could make a job under beforehand.

    A task that is made now has no key in the database yet. Items that are made anew count their tries from 1 again:
    when they became ready tells them from those before.
    """
    try_ = f"{run_uid}/{row.key}/{row.index}/{row.ready_at}/{number}"
    digest = salted_hmac("pipelines.job", try_, algorithm="sha256").digest()
    return uuid.UUID(bytes=digest[:16], version=4)


def job_name(pipeline: str, row: TaskRun) -> str:
    """`flow-train-3`: what a person recognises in a list of jobs."""
    task = row.key.replace("_", "-") + (f"-{row.index}" if row.is_item else "")
    prefix = slugify(pipeline)[: 62 - len(task)].replace("_", "-").strip("-")
    return f"{prefix}-{task}".strip("-")[:63].strip("-")


def raised(resources: Mapping[str, Any] | None, factor: int) -> Mapping[str, Any] | None:
    """The same with so many times the memory, after tries that ran out of it."""
    if factor == 1:
        return resources
    memory = Resources.parse(resources).memory

    def times(quantity: str) -> str:
        mebibytes: Decimal = parse_quantity(quantity) * factor / MEBIBYTE
        return f"{int(mebibytes.to_integral_value(rounding='ROUND_UP'))}Mi"

    return {**(resources or {}), "memory": f"{times(memory.request)}~{times(memory.limit)}"}
