"""Whether a graph can be saved: everything that is wrong with it at once, each under its path."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput
from apps.jobtemplates.documents import problems_in
from apps.jobtemplates.models import TemplateVersion
from apps.jobtemplates.params import Kind, params_of
from apps.jobtemplates.schema import check_schema, clean_params
from apps.pipelines.expressions import (
    ExpressionError,
    Path,
    expressions_in,
    holds_expression,
    parse,
    paths_in,
    read_condition,
)
from apps.pipelines.expressions.evaluating import filter_problem
from apps.pipelines.expressions.parsing import Binary, Filtered, ListOf, Node, Not
from apps.pipelines.expressions.texts import unclosed

from . import topology
from .limits import MAX_GRAPH_BYTES, MAX_PROBLEMS, MAX_VALUES
from .shape import TEMPLATE, shaped

Problems = Iterator[tuple[str, str]]
Reference = tuple[str, int | None]  # slug and number of a template version; None: the newest
RUN_VALUES = frozenset(
    {"logical_at", "interval_start", "interval_end", "uid", "trigger", "attempt", "pipeline", "version"}
)


@dataclass(frozen=True)
class Surroundings:
    """What a graph may refer to: template versions by slug and number (None: newest), resource groups by cluster."""

    templates: Mapping[Reference, TemplateVersion]
    clusters: Mapping[str, frozenset[str]]
    default_cluster: str = ""


def references_in(graph: Mapping[str, Any]) -> set[Reference]:
    """The template versions a shaped graph names."""
    return {reference_of(task["template"]) for task in graph["tasks"].values() if "template" in task}


def reference_of(text: str) -> Reference:
    match = TEMPLATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return match[1], int(match[2]) if match[2] else None


def outline(document: Any) -> dict[str, Any]:
    """The shaped graph. Raises InvalidInput for whatever can be told without the database."""
    refuse(dict(problems_in(document, "graph", most=MAX_VALUES)))
    graph, problems = shaped(document)
    refuse(problems)
    if len(orjson.dumps(graph)) > MAX_GRAPH_BYTES:
        raise InvalidInput({"graph": _("Too large: at most %(size)d KiB.") % {"size": MAX_GRAPH_BYTES // 1024}})
    check_schema(graph["params"], at="params")
    refuse(dict(_arrow_problems(graph["tasks"])))
    return graph


def judged(graph: dict[str, Any], world: Surroundings) -> dict[str, Any]:
    """The graph as it is saved, template versions pinned. Raises InvalidInput with every problem, by path."""
    before = topology.ancestors({key: task.get("needs", []) for key, task in graph["tasks"].items()})
    bits = {key: 1 << place for place, key in enumerate(graph["tasks"])}
    scope = {param.name for param in params_of(graph["params"])}
    problems: dict[str, str] = {}
    for key, task in graph["tasks"].items():
        reachable = _Reachable(scope, graph["tasks"], before[key], bits, "for_each" in task)
        for place, message in _task_problems(task, f"tasks.{key}", reachable, world):
            problems.setdefault(place, message)
        if len(problems) >= MAX_PROBLEMS:
            break
    refuse(problems)
    return {**graph, "tasks": {key: _pinned(task, world) for key, task in graph["tasks"].items()}}


def refuse(problems: Mapping[str, str]) -> None:
    """Raise InvalidInput when there are problems; a hostile document does not get all of a million back."""
    if problems:
        raise InvalidInput(dict(list(problems.items())[:MAX_PROBLEMS]))


def _pinned(task: dict[str, Any], world: Surroundings) -> dict[str, Any]:
    slug, number = reference_of(task["template"])
    return {**task, "template": f"{slug}@{world.templates[slug, number].number}"}


def _arrow_problems(tasks: Mapping[str, Any]) -> Problems:
    for key, task in tasks.items():
        for index, other in enumerate(task.get("needs", ())):
            if other not in tasks:
                yield f"tasks.{key}.needs[{index}]", _("There is no task '%(key)s'.") % {"key": other[:60]}
    turn = topology.ring({key: [o for o in task.get("needs", ()) if o in tasks] for key, task in tasks.items()})
    if turn:
        shown = turn if len(turn) <= 12 else [*turn[:6], "…", *turn[-5:]]
        yield f"tasks.{turn[0]}.needs", _("These tasks wait for each other: %(ring)s.") % {"ring": " → ".join(shown)}


@dataclass(frozen=True)
class _Reachable:
    """What the expressions of one task may read."""

    params: set[str]
    tasks: Mapping[str, Any]
    before: int
    bits: Mapping[str, int]
    has_items: bool

    def problem(self, path: Path) -> str:
        """Why a path leads nowhere; empty when it may lead somewhere."""
        first = path.steps[0] if path.steps else None
        match path.head:
            case "params" if first not in self.params:
                return _("A run has no parameter '%(name)s'.") % {"name": first}
            case "outputs" if first not in self.tasks:
                return _("There is no task '%(key)s'.") % {"key": first}
            case "outputs" if not self.before & self.bits[str(first)]:
                return _("'%(key)s' does not come before this task: add it to needs.") % {"key": first}
            case "run" if first not in RUN_VALUES:
                return _("A run has no '%(name)s'. Known: %(known)s.") % {
                    "name": first,
                    "known": ", ".join(sorted(RUN_VALUES)),
                }
            case "item" | "index" if not self.has_items:
                return _("'%(name)s' needs a for_each.") % {"name": path.head}
        return ""


def _task_problems(task: Mapping[str, Any], at: str, scope: _Reachable, world: Surroundings) -> Problems:
    yield from _placement_problems(task, at, world)
    yield from _condition_problems(task.get("when", ""), f"{at}.when", scope)
    yield from _items_problems(task.get("for_each"), f"{at}.for_each", scope)
    reference = reference_of(task["template"])
    version = world.templates.get(reference)
    if version is None:
        words = (
            _("There is no template '%(name)s'.")
            if reference[1] is None
            else _("There is no template version %(name)s.")
        )
        yield f"{at}.template", words % {"name": task["template"]}
        return
    yield from _param_problems(task.get("params", {}), version.schema, f"{at}.params", scope)


def _placement_problems(task: Mapping[str, Any], at: str, world: Surroundings) -> Problems:
    cluster = task.get("cluster") or world.default_cluster
    if task.get("cluster") and cluster not in world.clusters:
        yield f"{at}.cluster", _("There is no such cluster, or it takes no new work.")
    elif task.get("resource_group") and task["resource_group"] not in world.clusters.get(cluster, ()):
        yield f"{at}.resource_group", _("There is no such resource group on that cluster.")


def _condition_problems(text: str, at: str, scope: _Reachable) -> Problems:
    if text.strip():
        yield from _tree_problems(lambda: read_condition(text), at, scope)


def _items_problems(value: Any, at: str, scope: _Reachable) -> Problems:
    outside = _Reachable(scope.params, scope.tasks, scope.before, scope.bits, has_items=False)
    if isinstance(value, str):
        yield from _tree_problems(lambda: read_condition(value), at, outside)
    elif value is not None and holds_expression(value):
        yield from text_problems(value, at, outside)


def _param_problems(params: Mapping[str, Any], schema: Mapping[str, Any], at: str, scope: _Reachable) -> Problems:
    """Values with expressions are judged when they are known; code is never a template."""
    literal = {param.name for param in params_of(schema) if param.kind is Kind.CODE}
    open_names = {name for name, value in params.items() if name not in literal and holds_expression(value)}
    for name in sorted(open_names):
        yield from text_problems(params[name], f"{at}.{name}", scope)
    try:
        clean_params(schema, dict(params), at=at)
    except InvalidInput as refusal:
        for place, messages in refusal.fields.items():
            name = place.removeprefix(f"{at}.").partition("[")[0]
            if name not in open_names or name not in schema["properties"]:
                yield place, " ".join(messages)


def text_problems(value: Any, at: str, scope: Any) -> Problems:
    """What is wrong with the expressions within a value."""
    for place, text in _texts_in(value, at):
        if unclosed(text):
            yield place, _("An expression that begins with {{ ends with }}. For braces write {{ '{{' }}.")
        for _place, expression in expressions_in(text, place):
            yield from _tree_problems(lambda expression=expression: parse(expression), place, scope)


def _texts_in(value: Any, at: str) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield at, value
        case list():
            for index, item in enumerate(value):
                yield from _texts_in(item, f"{at}[{index}]")
        case dict():
            for key, item in value.items():
                yield from _texts_in(item, f"{at}.{key}")


def _tree_problems(read: Any, at: str, scope: Any) -> Problems:
    try:
        node = read()
    except ExpressionError as refusal:
        yield at, str(refusal)
        return
    for name, count in _filters_in(node):
        if problem := filter_problem(name, count):
            yield at, problem
    for path in paths_in(node):
        if problem := scope.problem(path):
            yield at, problem


def _filters_in(node: Node) -> Iterator[tuple[str, int]]:
    match node:
        case Filtered(operand, name, arguments):
            yield name, len(arguments)
            for part in (operand, *arguments):
                yield from _filters_in(part)
        case ListOf(items):
            for item in items:
                yield from _filters_in(item)
        case Not(operand):
            yield from _filters_in(operand)
        case Binary(_operator, left, right):
            yield from _filters_in(left)
            yield from _filters_in(right)
