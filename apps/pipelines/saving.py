"""Judging a document against what there is now: the step before it is saved."""

from typing import Any

from apps.core.errors import InvalidInput

from . import selectors
from .graph import judging


def checked_graph(document: Any) -> dict[str, Any]:
    """The canonical graph of a document, template versions pinned. Raises InvalidInput naming every bad field."""
    graph = judging.outline(document)
    return judging.judged(graph, selectors.surroundings(judging.references_in(graph)))


def problems_of(document: Any) -> dict[str, list[str]]:
    """What `checked_graph` would refuse, by path; empty when it would not."""
    try:
        checked_graph(document)
    except InvalidInput as refusal:
        return refusal.fields
    return {}
