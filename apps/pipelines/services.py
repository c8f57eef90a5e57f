"""Writes on pipelines and the beginning of runs: one verb, one transaction. What becomes of a run is in `executor.py`,
what people do to one in `steering.py`."""

import uuid as uuids
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.core.bulk import insert_rows
from apps.core.errors import DomainError, InvalidInput, InvalidTransition
from apps.core.events import publish
from apps.core.validation import clean
from apps.jobtemplates.schema import clean_params
from apps.projects.models import Project

from . import selectors
from .choices import Launch
from .events import PipelineSaved, RunsQueued
from .graph import documents
from .graph.limits import DEFAULT_PARALLELISM, MAX_PARALLELISM
from .models import Pipeline, Run, RunEvent, Version
from .saving import checked_graph

UNWRITTEN = {"project", "created_by"}  # Names within the project are looked at when it is saved.


class EditedMeanwhile(DomainError):
    """Somebody saved another version since the one that was edited."""

    code = "edited_meanwhile"


# -- pipelines --------------------------------------------------------------------------------------------------------
def create_pipeline(
    *, project: Project, name: str, description: str = "", graph: Any = None, comment: str = "", actor: Any
) -> Pipeline:
    """Make a pipeline, with its first version where a graph is given. Raises InvalidInput naming every bad field."""
    pipeline = Pipeline(project=project, name=name.strip(), description=description, created_by=actor)
    clean(
        pipeline, exclude={"project", "created_by"}
    )  # Without the project, whose names are looked at when it is saved.
    checked = None if graph is None else checked_graph(graph)
    with transaction.atomic():
        _save_named(pipeline)
        _audit(actor, "pipeline.create", pipeline)
        if checked is not None:
            _add_version(pipeline, checked, number=1, comment=comment, actor=actor)
        else:
            _announce_saved(pipeline, 0)
    return pipeline


def save_version(
    *, pipeline: Pipeline, graph: Any, comment: str = "", based_on: int | None = None, actor: Any
) -> Version:
    """Make `graph` the newest version; one that equals the newest is given back instead.

    `based_on` is the number that was edited (0: none). Raises EditedMeanwhile when that is no longer the newest,
    InvalidInput naming every bad field, InvalidTransition for an archived pipeline; then nothing has changed.
    """
    checked = checked_graph(graph)
    with transaction.atomic():
        pipeline = Pipeline.objects.select_for_update(of=("self",)).select_related("project").get(pk=pipeline.pk)
        _require_in_use(pipeline)
        newest = selectors.find_version(pipeline)
        number = newest.number if newest else 0
        if newest and newest.digest == documents.digest(checked):
            return newest
        if based_on is not None and based_on != number:
            told = {"number": number, "who": newest.author if newest and newest.author else _("somebody")}
            raise EditedMeanwhile(_("%(who)s saved version %(number)d meanwhile. Load it, or save as it is.") % told)
        return _add_version(pipeline, checked, number=number + 1, comment=comment, actor=actor)


@transaction.atomic
def describe_pipeline(
    *, pipeline: Pipeline, name: str | None = None, description: str | None = None, actor: Any
) -> Pipeline:
    """Change what people read about a pipeline; what is not given stays. Raises InvalidInput."""
    pipeline = Pipeline.objects.select_for_update(of=("self",)).select_related("project").get(pk=pipeline.pk)
    pipeline.name = pipeline.name if name is None else name.strip()
    pipeline.description = pipeline.description if description is None else description
    clean(pipeline, exclude=UNWRITTEN)
    _save_named(pipeline)
    _audit(actor, "pipeline.describe", pipeline)
    _announce_saved(pipeline, _newest_number(pipeline))
    return pipeline


@transaction.atomic
def set_archived(*, pipeline: Pipeline, archived: bool, actor: Any) -> Pipeline:
    """Put a pipeline away, or back. Runs that are under way go on; an archived one starts no more."""
    pipeline = Pipeline.objects.select_for_update(of=("self",)).select_related("project").get(pk=pipeline.pk)
    if pipeline.is_archived != archived:
        pipeline.is_archived = archived
        pipeline.save(update_fields=["is_archived", "updated_at"])
        _audit(actor, "pipeline.archive" if archived else "pipeline.restore", pipeline)
        _announce_saved(pipeline, _newest_number(pipeline))
    return pipeline


def copy_pipeline(*, version: Version, project: Project, name: str = "", actor: Any) -> Pipeline:
    """The version as a new pipeline of `project`, where the caller has made sure that `actor` may edit.

    Everything is judged anew. Raises InvalidInput.
    """
    original = version.pipeline
    return create_pipeline(
        project=project,
        name=name or original.name,
        description=original.description,
        graph=version.graph,
        comment=_("Copied from %(pipeline)s, version %(number)d.") % {"pipeline": original, "number": version.number},
        actor=actor,
    )


def _save_named(pipeline: Pipeline) -> None:
    try:
        with transaction.atomic():
            pipeline.save()
    except IntegrityError:  # Somebody took the name between the check and the save.
        raise InvalidInput({"name": _("A pipeline of this project has this name. Choose another.")}) from None


def _require_in_use(pipeline: Pipeline) -> None:
    if pipeline.is_archived:
        raise InvalidTransition(_("%(name)s is archived. Restore it first.") % {"name": pipeline.name})


def _add_version(pipeline: Pipeline, graph: dict[str, Any], *, number: int, comment: str, actor: Any) -> Version:
    version = Version(
        pipeline=pipeline,
        number=number,
        graph=graph,
        digest=documents.digest(graph),
        schema=graph["params"],
        parallelism=graph.get("parallelism", DEFAULT_PARALLELISM),
        timeout_seconds=graph.get("timeout_seconds"),
        task_count=len(graph["tasks"]),
        comment=comment[:300],
        author=actor,
    )
    version.save()
    pipeline.save(update_fields=["updated_at"])
    _audit(actor, "pipeline.save", pipeline, version=number)
    _announce_saved(pipeline, number)
    return version


def _newest_number(pipeline: Pipeline) -> int:
    return pipeline.versions.order_by("-number").values_list("number", flat=True).first() or 0


def _announce_saved(pipeline: Pipeline, number: int) -> None:
    publish(
        PipelineSaved(
            pipeline_id=pipeline.pk, pipeline_uid=str(pipeline.uid), project_id=pipeline.project_id, number=number
        )
    )


def _audit(actor: Any, action: str, pipeline: Pipeline, **detail: Any) -> None:
    audit.record(
        actor=actor,
        action=action,
        target=pipeline,
        project=pipeline.project.slug,
        detail={"uid": str(pipeline.uid), **detail},
    )


# -- runs -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class NewRun:
    """What a run is asked to be. `version` None: the newest; `parallelism` None: the version's; times are aware."""

    pipeline: Pipeline
    version: Version | None = None
    params: Mapping[str, Any] | None = None
    trigger: str = Launch.MANUAL
    logical_at: datetime | None = None
    interval_start: datetime | None = None
    interval_end: datetime | None = None
    priority: int = 0
    parallelism: int | None = None
    uid: uuids.UUID | None = None
    actor: Any = None
    only: str = ""
    reuses: bool = False
    rerun_of: Run | None = None


def draft_run(new: NewRun) -> Run:
    """A checked run that is not saved. Raises InvalidInput naming every bad field (`params.<x>`, `pipeline`, …)."""
    errors: dict[str, str | list[str]] = {}
    version = new.version or selectors.newest_versions([new.pipeline]).get(new.pipeline.pk)
    if new.pipeline.is_archived:
        errors["pipeline"] = _("%(name)s is archived. Restore it first.") % {"name": new.pipeline.name}
    if version is None:
        raise InvalidInput(
            {"pipeline": _("%(name)s has no version yet. Save one first.") % {"name": new.pipeline.name}}
        )
    if version.pipeline_id != new.pipeline.pk:
        errors["version"] = _("This version belongs to another pipeline.")
    if new.parallelism is not None and not 1 <= new.parallelism <= MAX_PARALLELISM:
        errors["parallelism"] = _("Must be a whole number from 1 to %(most)d.") % {"most": MAX_PARALLELISM}
    if not -100 <= new.priority <= 100:
        errors["priority"] = _("Must be a whole number from -100 to 100.")
    params: dict[str, Any] = {}
    try:
        params = clean_params(version.schema, dict(new.params or {}))
    except InvalidInput as refusal:
        errors |= refusal.fields
    if errors:
        raise InvalidInput(errors)
    return Run(
        project_id=new.pipeline.project_id,
        uid=new.uid or uuids.uuid4(),
        pipeline=new.pipeline,
        pipeline_version=version,
        params=params,
        trigger=new.trigger,
        logical_at=new.logical_at,
        interval_start=new.interval_start,
        interval_end=new.interval_end,
        priority=new.priority,
        parallelism=new.parallelism or version.parallelism,
        started_by=new.actor,
        only=new.only,
        reuses=new.reuses,
        rerun_of=new.rerun_of,
    )


def start_run(
    *,
    pipeline: Pipeline,
    version: Version | None = None,
    params: Mapping[str, Any] | None = None,
    trigger: str = Launch.MANUAL,
    logical_at: datetime | None = None,
    interval_start: datetime | None = None,
    interval_end: datetime | None = None,
    priority: int = 0,
    uid: uuids.UUID | None = None,
    actor: Any = None,
) -> Run:
    """Queue a run. With a `uid` the call is idempotent: the same uid is one run.

    Raises InvalidInput, also for a uid that is another pipeline's.
    """
    new = NewRun(
        pipeline=pipeline,
        version=version,
        params=params,
        trigger=trigger,
        logical_at=logical_at,
        interval_start=interval_start,
        interval_end=interval_end,
        priority=priority,
        uid=uid,
        actor=actor,
    )
    return start_new_run(new)


def start_new_run(new: NewRun) -> Run:
    """`start_run` for what was put together elsewhere."""
    drafts = _drafts([new])
    twins = _twins(drafts)
    try:
        with transaction.atomic():
            return _save_all(drafts, twins)[0]
    except IntegrityError:  # The same uid came twice at once.
        return _twins(drafts)[drafts[0].uid]


def start_runs(news: Sequence[NewRun], *, at: datetime | None = None) -> list[Run]:
    """Queue many runs in a few statements, in the order given; callable inside the caller's transaction.

    `at` is when they are said to be made: for a caller whose transaction becomes real at a moment it waits for.

    Those whose uid is a run already are that run. Raises InvalidInput with paths as `runs[3].params.day`; then nothing
    has changed. Whoever must not lose all for one asks `draft_run` about each before.
    """
    drafts = _drafts(news)
    twins = _twins(drafts)  # Before the block: a refusal within it would spoil the caller's transaction.
    with transaction.atomic(savepoint=False):
        return _save_all(drafts, twins, at=at)


def _drafts(news: Sequence[NewRun]) -> list[Run]:
    newest = selectors.newest_versions([new.pipeline for new in news if new.version is None])
    drafts: list[Run] = []
    errors: dict[str, str | list[str]] = {}
    for index, new in enumerate(news):
        version = new.version or newest.get(new.pipeline.pk)
        try:
            drafts.append(draft_run(new if version is None else _with_version(new, version)))
        except InvalidInput as refusal:
            prefix = f"runs[{index}]." if len(news) > 1 else ""
            errors |= {prefix + path: messages for path, messages in refusal.fields.items()}
    if errors:
        raise InvalidInput(errors)
    return drafts


def _with_version(new: NewRun, version: Version) -> NewRun:
    return NewRun(**{**new.__dict__, "version": version})


def _save_all(drafts: list[Run], twins: Mapping[uuids.UUID, Run], *, at: datetime | None = None) -> list[Run]:
    """Save the drafts whose uids are new, tell of them, and give a run for each."""
    fresh = {run.uid: run for run in drafts if run.uid not in twins}
    made = {run.uid: run for run in insert_rows(fresh.values(), at=at)}
    by_people = [run for run in made.values() if run.started_by]
    now = timezone.now()
    insert_rows(
        RunEvent(run=run, at=now, status=run.status, text=_began(run), actor=run.started_by) for run in by_people
    )
    for run in by_people:  # What a schedule starts, its slots tell of.
        _audit(run.started_by, "pipeline.run", run.pipeline, run=str(run.uid), version=run.pipeline_version.number)
    if made:
        publish(
            RunsQueued(
                run_ids=tuple(run.pk for run in made.values()),
                project_ids=frozenset(run.project_id for run in made.values()),
            )
        )
    return [made.get(run.uid) or twins[run.uid] for run in drafts]


def _twins(drafts: list[Run]) -> dict[uuids.UUID, Run]:
    """Runs that have the uids already. Raises InvalidInput for one that is another pipeline's."""
    found = {run.uid: run for run in Run.objects.filter(uid__in=[run.uid for run in drafts])}
    for run in drafts:
        if run.uid in found and found[run.uid].pipeline_id != run.pipeline_id:
            raise InvalidInput({"uid": _("Another run has this uid. Leave it out, or make a new one.")})
    return found


def _began(run: Run) -> str:
    if run.rerun_of_id is None:
        return _("Started.")
    return _("Started as a rerun of %(run)s.") % {"run": run.rerun_of}
