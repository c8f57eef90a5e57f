"""Regular expressions that cannot be made to run for minutes by the text they check.

Python's matcher backtracks, so a pattern's cost is bounded before it is accepted: read as a tree, no repetition may
hold another choice, and the product of what is left to try stays small for the longest text it will ever see.
"""

import re
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from django.utils.translation import gettext as _

MAX_PATTERN = 200
MAX_COST = 2_000_000  # steps; some tens of milliseconds
_REPEATS = (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT)
_SINGLE = (ops.LITERAL, ops.NOT_LITERAL, ops.IN, ops.ANY, ops.AT)


class TooCostly(ValueError):
    """The message says what to change."""


def pattern_problem(pattern: str, *, longest: int) -> str:
    """Why `pattern` is refused for texts of up to `longest` characters; empty when it is fine."""
    if len(pattern) > MAX_PATTERN:
        return _("A pattern has at most %(count)d characters.") % {"count": MAX_PATTERN}
    try:
        re.compile(pattern)
        tree = list(parser.parse(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        return _("Not a regular expression: %(why)s.") % {"why": error}
    if not (_is_at(tree[:1], ops.AT_BEGINNING) and _is_at(tree[-1:], ops.AT_END)):
        return _("Write ^…$ around the whole pattern: it must describe the whole value.")
    try:
        cost = _cost(tree, longest)
    except TooCostly as refusal:
        return str(refusal)
    if cost > MAX_COST:
        return _("This pattern could take very long: use fewer open repetitions (*, +), or bound them as in {0,40}.")
    return ""


def _is_at(nodes: list[Any], place: Any) -> bool:
    return bool(nodes) and nodes[0] == (ops.AT, place)


def _cost(nodes: Any, longest: int) -> int:
    cost = 1
    for op, argument in nodes:
        cost *= _cost_of(op, argument, longest)
    return cost


def _cost_of(op: Any, argument: Any, longest: int) -> int:
    if op in _SINGLE:
        return 1
    if op is ops.SUBPATTERN:
        return _cost(argument[3], longest)
    if op is ops.BRANCH:
        return sum(_cost(branch, longest) for branch in argument[1])
    if op in _REPEATS:
        least, most, inner = argument
        return _cost_of_repeat(least, most, inner, longest)
    raise TooCostly(_("Back references and look-around are not allowed in patterns."))


def _cost_of_repeat(least: int, most: int, inner: Any, longest: int) -> int:
    once = _cost(inner, longest)
    if most > 1 and once > 1:
        raise TooCostly(_("A repetition inside a repetition, as in (a+)+, could take very long."))
    return max(1, min(int(most), longest) - least + 1) * once
