"""A saved graph made ready for running: what the executor asks at every event, computed once per version."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from apps.pipelines.choices import Trigger
from apps.pipelines.expressions import expressions_in, parse, paths_in, read_condition

from . import topology
from .judging import Reference, reference_of
from .limits import MAX_FREE_RETRIES
from .shape import RETRY_DEFAULTS


@dataclass(frozen=True)
class RetryPolicy:
    """Times in seconds. `count` tries more after the first; `free` of them for what was not the task's fault."""

    count: int = 0
    delay_seconds: float = 30
    factor: float = 2
    cap_seconds: float = 3600
    fatal_exit_codes: frozenset[int] = frozenset()
    free: int = MAX_FREE_RETRIES


@dataclass(frozen=True)
class Task:
    key: str
    definition: Mapping[str, Any]

    @property
    def title(self) -> str:
        return str(self.definition.get("title") or self.key)

    @property
    def needs(self) -> list[str]:
        return list(self.definition.get("needs", ()))

    @property
    def trigger(self) -> str:
        return str(self.definition.get("trigger", Trigger.ALL_SUCCESS))

    @property
    def reference(self) -> Reference:
        return reference_of(self.definition["template"])

    @property
    def for_each(self) -> Any:
        return self.definition.get("for_each")

    @property
    def condition(self) -> str:
        return str(self.definition.get("when", ""))

    @property
    def is_switched_off(self) -> bool:
        return bool(self.definition.get("skip"))

    @property
    def priority(self) -> int:
        return int(self.definition.get("priority", 0))

    @cached_property
    def reads(self) -> frozenset[str]:
        """The tasks whose outputs its expressions read."""
        texts = [self.definition.get("params", {}), self.condition, self.for_each or ""]
        trees = [parse(text) for value in texts for _at, text in expressions_in(value, "")]
        trees += [read_condition(text) for text in (self.condition, self.for_each) if isinstance(text, str) and text]
        return frozenset(str(path.steps[0]) for tree in trees for path in paths_in(tree) if path.head == "outputs")

    @cached_property
    def retry_policy(self) -> RetryPolicy:
        given = {**RETRY_DEFAULTS, **self.definition.get("retries", {})}
        return RetryPolicy(**{**given, "fatal_exit_codes": frozenset(given["fatal_exit_codes"])})


class Plan:
    """The tasks of one version and who follows whom."""

    def __init__(self, graph: Mapping[str, Any]) -> None:
        self.templates: dict[Any, Any] = {}  # as far as they have been looked up
        self.tasks = {key: Task(key, definition) for key, definition in graph["tasks"].items()}
        needs = {key: task.needs for key, task in self.tasks.items()}
        self.followers = topology.followers(needs)
        self.order = topology.in_order(needs)

    def trigger_of(self, key: str) -> str:
        return self.tasks[key].trigger

    def behind(self, *keys: str) -> set[str]:
        return topology.behind(keys, self.followers)
