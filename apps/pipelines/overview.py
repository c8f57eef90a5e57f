"""What a list of pipelines shows beside each: its last runs. Two queries, however many runs there ever were."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Q, Subquery

from .models import Pipeline, Run

SQUARES = 12


@dataclass(frozen=True)
class Row:
    pipeline: Pipeline
    runs: list[Run]  # the newest last, at most SQUARES

    @property
    def last(self) -> Run | None:
        return self.runs[-1] if self.runs else None


def lately(pipelines: Sequence[Pipeline]) -> list[Row]:
    """The rows of these pipelines, in their order."""
    found: dict[int, list[Run]] = {pipeline.pk: [] for pipeline in pipelines}
    if wanted := _newest_of(list(found)):
        runs = Run.objects.filter(wanted).for_lists().order_by("pk")
        for run in runs:
            found[run.pipeline_id].append(run)
    return [Row(pipeline, found[pipeline.pk][-SQUARES:]) for pipeline in pipelines]


def _newest_of(keys: list[int]) -> Q:
    """From the oldest run still shown on, per pipeline: looked up in the index, so history costs nothing."""
    newest_first = Run.objects.filter(pipeline=OuterRef("pk")).order_by("-pk").values("pk")
    oldest = Pipeline.objects.filter(pk__in=keys).annotate(since=Subquery(newest_first[SQUARES - 1 : SQUARES]))
    wanted = Q()
    for key, since in oldest.values_list("pk", "since"):
        wanted |= Q(pipeline=key, pk__gte=since or 0)
    return wanted
