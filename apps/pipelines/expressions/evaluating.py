"""Tree and values to a value. Only dicts are looked into by name and lists by number: no attribute of anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from .filters import FILTERS
from .parsing import Binary, ExpressionError, Filtered, ListOf, Literal, Node, Not, Path


@dataclass(frozen=True)
class Values:
    """What expressions of one task can see. `outputs` holds None for a task that has none."""

    params: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    item: Any = None
    index: int | None = None


def evaluate(node: Node, values: Values) -> Any:
    """The value of an expression. Raises `ExpressionError`."""
    match node:
        case Literal(value):
            return value
        case ListOf(items):
            return [evaluate(item, values) for item in items]
        case Path():
            return _look_up(node, values)
        case Not(operand):
            return not evaluate(operand, values)
        case Binary("and", left, right):
            return evaluate(left, values) and evaluate(right, values)
        case Binary("or", left, right):
            return evaluate(left, values) or evaluate(right, values)
        case Binary(operator, left, right):
            return _compare(operator, evaluate(left, values), evaluate(right, values))
        case Filtered(operand, name, arguments):
            return _apply(name, evaluate(operand, values), [evaluate(a, values) for a in arguments])
    raise ExpressionError(_("This is no expression."))


def _apply(name: str, value: Any, arguments: list[Any]) -> Any:
    if problem := filter_problem(name, len(arguments)):
        raise ExpressionError(problem)
    return FILTERS[name][0](value, *arguments)


def filter_problem(name: str, count: int) -> str:
    """Why a filter cannot be used with so many arguments; empty when it can."""
    if name not in FILTERS:
        known = ", ".join(sorted(FILTERS))
        return _("There is no filter '%(name)s'. Known: %(known)s.") % {"name": name, "known": known}
    _function, fewest, most = FILTERS[name]
    if not fewest <= count <= most:
        told = {"name": name, "fewest": fewest, "most": most}
        return _("The filter '%(name)s' takes %(fewest)d to %(most)d values in brackets.") % told
    return ""


def _look_up(path: Path, values: Values) -> Any:
    if path.head == "outputs":
        return _output(path, values)
    found = getattr(values, path.head)  # One of HEADS, which the parser has checked: a field of Values.
    for place, step in enumerate(path.steps):
        found = _step(found, step, path, place)
    return found


def _output(path: Path, values: Values) -> Any:
    """null behind a task without outputs; an error where it has some, but not this one."""
    task, *steps = path.steps
    found = values.outputs.get(str(task))
    if found is None:
        return None
    for place, step in enumerate(steps, start=1):
        found = _step(found, step, path, place)
    return found


def _step(found: Any, step: str | int, path: Path, place: int) -> Any:
    if isinstance(found, Mapping) and isinstance(step, str) and step in found:
        return found[step]
    if isinstance(found, list) and isinstance(step, int) and step < len(found):
        return found[step]
    where = Path(path.head, path.steps[:place])
    raise ExpressionError(_("%(where)s has no %(step)s.") % {"where": where, "step": step})


def _compare(operator: str, left: Any, right: Any) -> bool:
    match operator:
        case "==":
            return _same(left, right)
        case "!=":
            return not _same(left, right)
        case "in":
            return _contains(right, left)
        case "not in":
            return not _contains(right, left)
    if not _comparable(left, right):
        raise ExpressionError(
            _("Only two numbers, two texts or two times can be compared with %(sign)s.") % {"sign": operator}
        )
    order = (left > right) - (left < right)
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


def _same(left: Any, right: Any) -> bool:
    """As JSON sees it: `true` is not 1."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _contains(whole: Any, part: Any) -> bool:
    match whole:
        case str() if isinstance(part, str):
            return part in whole
        case list():
            return any(_same(part, item) for item in whole)
        case dict():
            return isinstance(part, str) and part in whole
    raise ExpressionError(_("Behind 'in' stands a list, an object or a text."))


def _comparable(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    return any(isinstance(left, kind) and isinstance(right, kind) for kind in (int | float, str, datetime))
