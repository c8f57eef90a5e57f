"""Two runs side by side: what they were given, how long each task took, how it ended, what it told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .models import WHOLE, Run, TaskRun
from .watching import seconds_between


@dataclass(frozen=True)
class Pair:
    """One fact of both runs; None where a run has none."""

    name: str
    left: Any
    right: Any

    @property
    def differs(self) -> bool:
        return bool(self.left != self.right)


@dataclass(frozen=True)
class TaskPair:
    key: str
    left: TaskRun | None
    right: TaskRun | None

    @property
    def seconds(self) -> Pair:
        return Pair("seconds", _seconds(self.left), _seconds(self.right))

    @property
    def statuses(self) -> Pair:
        return Pair("status", self.left and self.left.status, self.right and self.right.status)

    @property
    def outputs(self) -> list[Pair]:
        return pairs(_object(self.left and self.left.outputs), _object(self.right and self.right.outputs))

    @property
    def slower_by(self) -> int | None:
        """Seconds that the right one took longer; None when either has no time."""
        left, right = self.seconds.left, self.seconds.right
        return None if left is None or right is None else right - left


def _seconds(row: TaskRun | None) -> int | None:
    return seconds_between(row.started_at, row.finished_at) if row else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def pairs(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[Pair]:
    return [Pair(name, left.get(name), right.get(name)) for name in sorted({*left, *right})]


def task_pairs(left: Run, right: Run) -> list[TaskPair]:
    """Every task of either run, in the order of the left one's rows."""
    rows = TaskRun.objects.filter(run__in=[left, right], index=WHOLE).defer("params", "item").order_by("pk")
    found: dict[str, dict[int, TaskRun]] = {}
    for row in sorted(rows, key=lambda row: row.run_id != left.pk):
        found.setdefault(row.key, {})[row.run_id] = row
    return [TaskPair(key, of.get(left.pk), of.get(right.pk)) for key, of in found.items()]
