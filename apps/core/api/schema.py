"""Hooks of the OpenAPI document."""

from collections.abc import Callable
from typing import Any

Endpoint = tuple[str, str, str, Callable[..., Any]]  # path, its regular expression, method, view


def without_slashless_twins(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Leave out `/x` where `/x/` is documented: the former is a courtesy to people who type addresses by hand."""
    known = {(path, method) for path, _regex, method, _view in endpoints}
    return [entry for entry in endpoints if (entry[0] + "/", entry[2]) not in known]
