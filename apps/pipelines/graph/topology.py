"""Who comes before whom. Pure, and linear in tasks and arrows; no recursion, since a graph may be one long chain."""

from collections import deque
from collections.abc import Iterable, Mapping

Needs = Mapping[str, Iterable[str]]


def followers(needs: Needs) -> dict[str, list[str]]:
    """Task -> the tasks that need it."""
    found: dict[str, list[str]] = {key: [] for key in needs}
    for key, before in needs.items():
        for other in before:
            if other in found:
                found[other].append(key)
    return found


def in_order(needs: Needs) -> list[str]:
    """Every task after those it needs; what is in a ring, or behind one, is left out."""
    behind = followers(needs)
    missing = {key: sum(1 for other in before if other in needs) for key, before in needs.items()}
    ready = deque(sorted(key for key, count in missing.items() if not count))
    ordered: list[str] = []
    while ready:
        key = ready.popleft()
        ordered.append(key)
        for other in behind[key]:
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    return ordered


def ring(needs: Needs) -> list[str]:
    """A ring as `[a, b, a]`, where each is needed by the one behind it; empty when there is none."""
    left = set(needs) - set(in_order(needs))
    if not left:
        return []
    # What is left may stand behind a ring as well as in it; walking towards needs stays among what is left.
    key, seen = min(left), dict[str, int]()
    path: list[str] = []
    while key not in seen:
        seen[key] = len(path)
        path.append(key)
        key = next(other for other in needs[key] if other in left)
    turn = path[seen[key] :][::-1]
    start = turn.index(min(turn))
    turn = turn[start:] + turn[:start]
    return [*turn, turn[0]]


def ancestors(needs: Needs) -> dict[str, int]:
    """Task -> its bit set of all tasks before it; bit *n* is the *n*-th task of `needs`. For graphs without rings."""
    bit = {key: 1 << place for place, key in enumerate(needs)}
    found: dict[str, int] = {}
    for key in in_order(needs):
        found[key] = 0
        for other in needs[key]:
            found[key] |= found[other] | bit[other]
    return found


def behind(starts: Iterable[str], follow: Mapping[str, list[str]]) -> set[str]:
    """All tasks after these, without them unless one stands behind another."""
    found: set[str] = set()
    waiting = deque(starts)
    while waiting:
        for other in follow[waiting.popleft()]:
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found
