"""What differs between two graphs, in the words of the document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MISSING = object()


@dataclass(frozen=True)
class Change:
    """One field: its path within the document, and its value before and after (None where it was, or is, absent)."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Diff:
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> Diff:
    """Tasks added, removed and changed by key, and every changed field; positions are no change of meaning."""
    old, new = before["tasks"], after["tasks"]
    head = {name: value for name, value in before.items() if name != "tasks"}
    changes = list(_changes(head, {name: value for name, value in after.items() if name != "tasks"}, ""))
    changed = []
    for key in sorted(old.keys() & new.keys()):
        found = [
            c for c in _changes(old[key], new[key], f"tasks.{key}") if not c.path.startswith(f"tasks.{key}.position")
        ]
        changes += found
        changed += [key] if found else []
    return Diff(sorted(new.keys() - old.keys()), sorted(old.keys() - new.keys()), changed, changes)


def _changes(before: Any, after: Any, at: str) -> Iterator[Change]:
    """Objects are compared field by field; anything else as a whole."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        if before != after or isinstance(before, bool) != isinstance(after, bool):
            yield Change(at, None if before is MISSING else before, None if after is MISSING else after)
        return
    for name in sorted(before.keys() | after.keys()):
        yield from _changes(before.get(name, MISSING), after.get(name, MISSING), f"{at}.{name}".lstrip("."))
