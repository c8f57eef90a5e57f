"""How a run stands, for its page: one row per task of the graph, however many items it has."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Case, When
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.jobs.templatetags.duration import duration

from .choices import TASK_FINISHED, TaskStatus, Why
from .models import WHOLE, Run, TaskRun

LABELS = dict(TaskStatus.choices)
REASONS = dict(Why.choices)
ITEMS = 100  # of a fan-out, in one answer
SHORT = 20  # seconds of a run whose axis shows tenths
LISTED = 200  # tasks in table and chart; the graph shows all
# What a person looks for first, where not all can be listed.
URGENCY = {status: place for place, status in enumerate(["failed", "running", "submitted", "ready", "upstream_failed"])}


@dataclass(frozen=True)
class Line:
    """A task as table, chart and box of the graph show it."""

    row: TaskRun
    definition: dict[str, Any]

    @property
    def key(self) -> str:
        return self.row.key

    @property
    def title(self) -> str:
        return str(self.definition.get("title") or self.row.key)

    @property
    def template(self) -> str:
        return str(self.definition.get("template", ""))

    @property
    def label(self) -> str:
        label = str(LABELS[TaskStatus(self.row.status)])
        return _("%(status)s, ignored") % {"status": label} if self.row.is_ignored else label

    @property
    def reason(self) -> str:
        return str(REASONS.get(self.row.reason, self.row.reason))

    @property
    def seconds(self) -> int | None:
        return seconds_between(self.row.started_at, self.row.finished_at)

    @property
    def items_done(self) -> int:
        return (self.row.item_count or 0) - self.row.items_left

    @cached_property
    def words(self) -> str:
        """What stands in the box: how long, of how many, how often."""
        parts = []
        if self.row.item_count:
            parts.append(_("%(done)d of %(all)d") % {"done": self.items_done, "all": self.row.item_count})
            if self.row.items_failed:
                parts.append(_("%(n)d failed") % {"n": self.row.items_failed})
        if self.seconds is not None:
            parts.append(duration(self.seconds))
        if self.row.tries > 1:
            parts.append(_("try %(n)d") % {"n": self.row.tries})
        return " · ".join(parts) or self.label

    def state(self) -> dict[str, Any]:
        """For the graph's script."""
        return {
            "status": "ignored" if self.row.is_ignored else self.row.status,
            "label": self.label,
            "words": self.words,
        }


def seconds_between(start: datetime | None, end: datetime | None) -> int | None:
    """Whole seconds, up to now when it has not ended; None when it never began."""
    if start is None:
        return None
    return max(0, round(((end or timezone.now()) - start).total_seconds()))


def lines_of(run: Run, graph: dict[str, Any]) -> list[Line]:
    """The tasks of the graph in its order. A run that has not begun has none yet."""
    rows = {row.key: row for row in run.tasks.filter(index=WHOLE).defer("params", "outputs", "item")}
    return [Line(rows[key], task) for key, task in graph["tasks"].items() if key in rows]


def listed(lines: list[Line]) -> list[Line]:
    """All in the graph's order; of too many the most urgent."""
    if len(lines) <= LISTED:
        return lines
    return sorted(lines, key=lambda line: URGENCY.get(line.row.status, len(URGENCY)))[:LISTED]


def states_of(lines: Iterable[Line]) -> dict[str, Any]:
    return {line.key: line.state() for line in lines}


# -- the chart --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Bar:
    """A task's time within its run, in percent of the chart's width."""

    line: Line
    left: float
    width: float
    waited: float  # width of the wait before it, from ready to started

    @property
    def wait_from(self) -> float:
        return round(self.left - self.waited, 2)


@dataclass(frozen=True)
class Chart:
    bars: list[Bar]
    seconds: float

    @property
    def marks(self) -> list[tuple[float, str]]:
        """(percent, words) of the time axis."""
        times = [self.seconds * n / 4 for n in range(5)]
        return [(25.0 * n, f"{at:.1f}s" if self.seconds < SHORT else duration(round(at))) for n, at in enumerate(times)]


def chart_of(run: Run, lines: Iterable[Line]) -> Chart | None:
    """None when nothing has started."""
    started = sorted((line for line in lines if line.row.started_at), key=lambda line: (_start(line), line.key))
    if not started:
        return None
    begin = min([run.started_at or _start(started[0]), *(_ready(line) for line in started)])
    end = max(line.row.finished_at or timezone.now() for line in started)
    span = max(1.0, (end - begin).total_seconds())
    return Chart([_bar(line, begin, span) for line in started], span)


def _ready(line: Line) -> datetime:
    return line.row.ready_at or line.row.started_at


def _start(line: Line) -> datetime:
    """A cluster tells whole seconds, rounded down; nothing began before it was ready."""
    return max(line.row.started_at, _ready(line))


def _bar(line: Line, begin: datetime, span: float) -> Bar:
    def percent(moment: datetime) -> float:
        return round(100 * (moment - begin).total_seconds() / span, 2)

    left = percent(_start(line))
    right = percent(line.row.finished_at or timezone.now())
    return Bar(line, left, max(0.4, round(right - left, 2)), round(left - percent(_ready(line)), 2))


# -- one task ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Items:
    rows: list[TaskRun]
    more: int | None  # the index to go on from


def items_of(run: Run, key: str, since: int = 0) -> Items:
    """The items of a fan-out from an index on."""
    found = run.tasks.filter(key=key, index__gte=since).select_related("job").defer("params").order_by("index")
    rows = list(found[: ITEMS + 1])
    return Items(rows[:ITEMS], rows[ITEMS].index if len(rows) > ITEMS else None)


def items_to_debug(run: Run, key: str) -> list[TaskRun]:
    """Items of a fan-out that have had a job, those that failed first; as many as one list shows."""
    failed_first = Case(When(status=TaskStatus.FAILED, then=0), default=1)
    found = run.tasks.filter(key=key, job__isnull=False).exclude(index=WHOLE)
    return list(found.only("run", "key", "index", "item", "status").order_by(failed_first, "index")[:ITEMS])


def is_over(row: TaskRun) -> bool:
    return row.status in TASK_FINISHED
