"""Graphs as text: YAML that reads back as the same graph, and the digest that tells whether two are the same."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
import yaml

from apps.jobtemplates.documents import read_document

from . import topology
from .shape import FIELDS

__all__ = ["digest", "read_graph", "write_graph"]


class _Dumper(yaml.SafeDumper):
    """Block texts for what has several lines, no anchors: the reader takes none."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def read_graph(text: str) -> Any:
    """The document of a YAML or JSON text. Raises InvalidInput at `graph` naming line and column."""
    return read_document(text, at="graph")


def write_graph(graph: Mapping[str, Any]) -> str:
    """The graph as YAML, each task after those it needs, fields in the order of the documentation."""
    return yaml.dump(arranged(graph), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def arranged(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The same graph in reading order: databases do not keep the order of keys."""
    tasks = graph["tasks"]
    order = topology.in_order({key: task.get("needs", []) for key, task in tasks.items()})
    head = {name: graph[name] for name in ("params", "parallelism", "timeout_seconds") if name in graph}
    return {**head, "tasks": {key: {n: tasks[key][n] for n in FIELDS if n in tasks[key]} for key in order}}


def digest(graph: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(graph, option=orjson.OPT_SORT_KEYS)).hexdigest()
