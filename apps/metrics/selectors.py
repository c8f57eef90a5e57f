"""Reads about what pods used: figures of attempts, and curves with a bounded number of points."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Avg, BigIntegerField, Count, F, Func, Max, Min, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from apps.clusters.quantities import Range, Resources, parse_quantity
from apps.jobs import selectors as jobs
from apps.jobs.models import Attempt, Job, Pod

from .models import AttemptUsage, PodSample, Source

POINTS = 180  # of a curve; a longer time is cut into that many parts, and each shows its highest sample
DRAWN_APART = 8  # pods with a curve of their own
MILLI = 1000
ATTEMPT = "pod__attempt"


@dataclass(frozen=True)
class Spread:
    """How one resource was used, in its own unit."""

    mean: int = 0
    p95: int = 0
    max: int = 0


@dataclass(frozen=True)
class Figures:
    """What an attempt used, per pod (see `AttemptUsage`)."""

    first_at: datetime
    last_at: datetime
    sample_count: int
    pod_count: int
    cpu_millicores: Spread
    memory_bytes: Spread


@dataclass(frozen=True)
class Point:
    at: datetime
    cpu_millicores: int
    memory_bytes: int


@dataclass(frozen=True)
class Series:
    """The curve of one pod, or with an empty `pod` that of all together: `highest` or `mean`."""

    pod: str
    rank: int | None
    kind: str
    points: list[Point]


@dataclass(frozen=True)
class Asked:
    """What one pod requested and the most it may use."""

    request: int
    limit: int


@dataclass(frozen=True)
class Usage:
    """What the page of a job and the API show of one attempt."""

    attempt: Attempt
    source: str | None  # how the last look at the cluster went (`SourceState`); None: there was none
    cpu_millicores: Asked
    memory_bytes: Asked
    figures: Figures | None  # None: nothing was measured
    series: list[Series]
    step_seconds: int  # what a point stands for
    samples_removed_at: datetime | None
    others: list[tuple[Attempt, Figures]]  # the job's other attempts that were measured, newest first


class Epoch(Func):
    """Whole seconds since 1970."""

    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="CAST(strftime('%%%%s', %(expressions)s) AS INTEGER)", **context
        )

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="FLOOR(EXTRACT(EPOCH FROM %(expressions)s))::bigint", **context
        )


def running_pods(cluster_id: int) -> QuerySet[Pod]:
    """Pods of jobs that are not over, with what tells them apart in a cluster; `is_new`: not measured so far."""
    pods = Pod.objects.filter(
        attempt__job__in=jobs.unfinished_on(cluster_id), finished_at=None, deleted_at=None
    ).annotate(is_new=Q(attempt__usage=None))
    return pods.select_related("attempt__job__project").only(
        "name", "attempt__number", "attempt__job__uid", "attempt__job__project__slug"
    )


def figures_of(attempt_ids: Collection[int]) -> dict[int, Figures]:
    """Of those attempts that have samples, in two queries however many they are."""
    samples = PodSample.objects.filter(pod__attempt__in=list(attempt_ids))
    cpu, memory = _p95(samples)
    rows = samples.order_by().values(ATTEMPT).annotate(
        first=Min("at"),
        last=Max("at"),
        samples=Count("at"),
        pods=Count("pod", distinct=True),
        cpu_mean=Avg("cpu_millicores"),
        cpu_max=Max("cpu_millicores"),
        memory_mean=Avg("memory_bytes"),
        memory_max=Max("memory_bytes"),
    )  # fmt: skip
    return {
        row[ATTEMPT]: Figures(
            first_at=row["first"],
            last_at=row["last"],
            sample_count=row["samples"],
            pod_count=row["pods"],
            cpu_millicores=Spread(round(row["cpu_mean"]), cpu[row[ATTEMPT]], row["cpu_max"]),
            memory_bytes=Spread(round(row["memory_mean"]), memory[row[ATTEMPT]], row["memory_max"]),
        )
        for row in rows
    }


def _p95(samples: QuerySet[PodSample]) -> tuple[dict[int, int], dict[int, int]]:
    """The 95th percentile of CPU and memory of each attempt, by nearest rank: a value that was really measured."""

    def ordered(by: str) -> Window:
        return Window(RowNumber(), partition_by=ATTEMPT, order_by=by)

    ranked = samples.annotate(
        cpu_place=ordered("cpu_millicores"),
        memory_place=ordered("memory_bytes"),
        wanted=(Window(Count("at"), partition_by=ATTEMPT) * 19 + 19) / 20,  # 95 of 100, rounded up
    ).filter(Q(cpu_place=F("wanted")) | Q(memory_place=F("wanted")))
    cpu, memory = {}, {}
    for row in ranked.values(ATTEMPT, "cpu_millicores", "memory_bytes", "cpu_place", "memory_place", "wanted"):
        if row["cpu_place"] == row["wanted"]:
            cpu[row[ATTEMPT]] = row["cpu_millicores"]
        if row["memory_place"] == row["wanted"]:
            memory[row[ATTEMPT]] = row["memory_bytes"]
    return cpu, memory


def kept_figures(usage: AttemptUsage) -> Figures:
    """What was written when the attempt was over."""
    return Figures(
        first_at=usage.first_at,
        last_at=usage.last_at,
        sample_count=usage.sample_count,
        pod_count=usage.pod_count,
        cpu_millicores=Spread(usage.cpu_millicores_mean, usage.cpu_millicores_p95, usage.cpu_millicores_max),
        memory_bytes=Spread(usage.memory_bytes_mean, usage.memory_bytes_p95, usage.memory_bytes_max),
    )


def usage_of(job: Job, *, number: int | None = None) -> Usage:
    """Of the attempt of that number, or of the newest. Raises Attempt.DoesNotExist where there is no such attempt.

    The number of queries does not depend on how many attempts, pods and samples there are.
    """
    attempts = list(job.attempts.select_related("usage").order_by("-number"))
    chosen = next((each for each in attempts if number in (None, each.number)), None)
    if chosen is None:
        raise Attempt.DoesNotExist(f"{job} has no such attempt")
    known, pods = _figures(attempts), list(chosen.pods.all())
    figures = known.get(chosen.pk)
    step = _step(figures) if figures else 1
    cpu, memory = _asked(job)
    return Usage(
        attempt=chosen,
        source=Source.objects.filter(cluster=job.cluster_id).values_list("state", flat=True).first(),
        cpu_millicores=cpu,
        memory_bytes=memory,
        figures=figures,
        series=_series(pods, step) if figures else [],
        step_seconds=step,
        samples_removed_at=chosen.usage.samples_removed_at if hasattr(chosen, "usage") else None,
        others=[(each, known[each.pk]) for each in attempts if each is not chosen and each.pk in known],
    )


def _figures(attempts: Sequence[Attempt]) -> dict[int, Figures]:
    """Those that were kept, and of what still runs those so far."""
    rows = [attempt.usage for attempt in attempts if hasattr(attempt, "usage")]
    kept = {row.attempt_id: kept_figures(row) for row in rows if row.closed_at}
    open_ids = [row.attempt_id for row in rows if not row.closed_at]
    return kept | (figures_of(open_ids) if open_ids else {})


def _asked(job: Job) -> tuple[Asked, Asked]:
    """CPU in millicores and memory in bytes."""
    resources = Resources.parse(job.resources)
    return _amounts(resources.cpu, MILLI), _amounts(resources.memory, 1)


def _amounts(written: Range, factor: int) -> Asked:
    return Asked(int(parse_quantity(written.request) * factor), int(parse_quantity(written.limit) * factor))


def _step(figures: Figures) -> int:
    span = (figures.last_at - figures.first_at).total_seconds()
    return max(1, -int(-span // POINTS))


def _series(pods: list[Pod], step: int) -> list[Series]:
    """A curve for each pod; of many pods the highest and the mean of each moment."""
    samples = PodSample.objects.filter(pod__in=pods).annotate(part=Epoch("at") / step).order_by("part")
    if len(pods) <= DRAWN_APART:
        return _apart(pods, samples, step)
    highest = {"cpu": Max("cpu_millicores"), "memory": Max("memory_bytes")}
    mean = {"cpu_mean": Avg("cpu_millicores"), "memory_mean": Avg("memory_bytes")}
    rows = list(samples.values("part").annotate(**highest, **mean))
    return [
        Series("", None, "highest", [_point(row["part"], step, row["cpu"], row["memory"]) for row in rows]),
        Series("", None, "mean", [_point(row["part"], step, row["cpu_mean"], row["memory_mean"]) for row in rows]),
    ]


def _apart(pods: list[Pod], samples: QuerySet[Any], step: int) -> list[Series]:
    curves: dict[int, list[Point]] = {pod.pk: [] for pod in pods}
    for row in samples.values("pod_id", "part").annotate(cpu=Max("cpu_millicores"), memory=Max("memory_bytes")):
        curves[row["pod_id"]].append(_point(row["part"], step, row["cpu"], row["memory"]))
    return [Series(pod.name, pod.rank, "pod", curves[pod.pk]) for pod in pods if curves[pod.pk]]


def _point(part: int, step: int, cpu: float, memory: float) -> Point:
    return Point(datetime.fromtimestamp(part * step, UTC), round(cpu), round(memory))
