"""Reads that span tables."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Max

from apps.clusters import selectors as capacity
from apps.jobtemplates.models import TemplateVersion

from .graph.judging import Reference, Surroundings
from .models import Pipeline, Run, RunEvent, TaskRun, Version

TOLD = 500  # events of a run


def surroundings(references: set[Reference]) -> Surroundings:
    """What a graph that names these templates may refer to now: three queries, however large the graph is."""
    clusters = capacity.usable_clusters().defer("kubeconfig", "capabilities").prefetch_related("resource_groups")
    default = capacity.default_cluster()
    return Surroundings(
        templates=offered_versions(references),
        clusters={c.slug: frozenset(group.slug for group in c.resource_groups.all()) for c in clusters},
        default_cluster=default.slug if default else "",
    )


def offered_versions(references: set[Reference]) -> dict[Reference, TemplateVersion]:
    """By slug and number (None: the newest), those of templates that are offered."""
    return _versions(references, template__is_enabled=True)


def pinned_versions(references: set[Reference]) -> dict[Reference, TemplateVersion]:
    """The same whether or not the template is still offered: what was saved keeps running."""
    return _versions(references)


def _versions(references: set[Reference], **filters: Any) -> dict[Reference, TemplateVersion]:
    slugs = {slug for slug, _number in references}
    known = TemplateVersion.objects.filter(template__slug__in=slugs, **filters)
    keys: dict[Reference, int] = {}
    for slug, number, pk in known.order_by("number").values_list("template__slug", "number", "pk"):
        keys[slug, number] = keys[slug, None] = pk  # the last one is the newest
    wanted = {reference: keys[reference] for reference in references if reference in keys}
    found = TemplateVersion.objects.select_related("template").in_bulk(set(wanted.values()))
    return {reference: found[pk] for reference, pk in wanted.items()}


def saved_at(pipeline_ids: Iterable[int]) -> dict[int, datetime]:
    """When each of these pipelines was last saved: put away, described, or given a version."""
    return dict(Pipeline.objects.filter(pk__in=list(pipeline_ids)).values_list("pk", "updated_at"))


def newest_versions(pipelines: Iterable[Pipeline]) -> dict[int, Version]:
    """The newest version of each pipeline that has one, by the pipeline's key, without graphs: one query."""
    ids = {pipeline.pk for pipeline in pipelines}
    newest = Version.objects.filter(pipeline__in=ids).values("pipeline").annotate(pk_of_newest=Max("pk"))
    rows = Version.objects.filter(pk__in=newest.values("pk_of_newest")).defer("graph")
    return {version.pipeline_id: version for version in rows}


def find_version(pipeline: Pipeline, number: int | None = None) -> Version | None:
    """The named version of a pipeline, the newest without a number, or None."""
    versions = pipeline.versions.all() if number is None else pipeline.versions.filter(number=number)
    return versions.order_by("-number").first()


def run_of_job(job_id: int) -> int | None:
    """The run whose task a job is the newest try of; None for what is no pipeline's."""
    return TaskRun.objects.filter(job_id=job_id).order_by().values_list("run_id", flat=True).first()


def timeline_of(run: Run) -> list[RunEvent]:
    """The latest events of a run, oldest first; a run of thousands may have more than anybody reads."""
    return list(run.events.select_related("actor").order_by("-id")[:TOLD])[::-1]


def statuses_of(run: Run) -> list[list[Any]]:
    """`[key, index, status]` of every task of a run, in the order they were made."""
    return [list(row) for row in run.tasks.order_by("id").values_list("key", "index", "status")]
