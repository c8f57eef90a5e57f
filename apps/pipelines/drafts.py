"""What is being edited and not saved yet: between text and document, with everything that is wrong with it."""

from collections.abc import Mapping
from typing import Any

import yaml

from apps.core.errors import InvalidInput
from apps.jobtemplates.documents import problems_in

from .graph import documents
from .graph.limits import MAX_VALUES
from .graph.shape import shaped
from .saving import problems_of

Draft = dict[str, Any]


def from_text(text: str) -> Draft:
    """`{graph, errors}` of YAML: graph is None when the text is no document that can be drawn."""
    try:
        graph = documents.read_graph(text)
    except InvalidInput as refusal:
        return {"graph": None, "errors": refusal.fields}
    errors = problems_of(graph)
    return {"graph": graph if is_drawable(graph) else None, "errors": errors}


def from_graph(graph: Any) -> Draft:
    """`{yaml, errors}` of a document. Raises InvalidInput for what no editor would send."""
    if problems := dict(problems_in(graph, "graph", most=MAX_VALUES)):
        raise InvalidInput(problems)
    return {"yaml": as_text(graph) if isinstance(graph, dict) else "", "errors": problems_of(graph)}


def is_drawable(graph: Any) -> bool:
    """An object of tasks which are objects: what is wrong within a task can be shown on it."""
    if not isinstance(graph, dict) or not isinstance(graph.get("params", {}), dict):
        return False
    tasks = graph.get("tasks")
    return isinstance(tasks, dict) and all(isinstance(task, dict) for task in tasks.values())


def as_text(graph: Mapping[str, Any]) -> str:
    """A document as YAML, in reading order. One with unknown fields is written as it is: nothing gets lost."""
    _made, problems = shaped(graph)
    if not problems and not _has_ring(graph):
        return documents.write_graph(graph)
    return yaml.safe_dump(dict(graph), sort_keys=False, allow_unicode=True, width=120)


def _has_ring(graph: Mapping[str, Any]) -> bool:
    return len(documents.arranged(graph)["tasks"]) < len(graph["tasks"])


def without_empty_params(graph: Mapping[str, Any]) -> Draft:
    """A saved graph as an editor shows it: a pipeline that asks for nothing says nothing of params."""
    params = graph.get("params") or {}
    shown = {name: value for name, value in params.items() if name in ("properties", "required") and value}
    return {**({"params": shown} if shown else {}), **{n: v for n, v in graph.items() if n != "params"}}
