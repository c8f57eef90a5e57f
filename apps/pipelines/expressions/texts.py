"""Expressions within parameters: where they stand, and what becomes of them."""

import re
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _

from .evaluating import Values, evaluate
from .filters import MAX_TEXT, as_text, plain
from .parsing import ExpressionError, Node, parse

# A quoted text may hold braces; nothing else can.
_PIECE = re.compile(r"""\{\{((?:[^{}"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*)\}\}""", re.DOTALL)
OPENING = "{{"


def holds_expression(value: Any) -> bool:
    """Whether any text within a value has an expression."""
    match value:
        case str():
            return OPENING in value
        case list():
            return any(holds_expression(item) for item in value)
        case dict():
            return any(holds_expression(item) for item in value.values())
    return False


def expressions_in(value: Any, at: str) -> Iterator[tuple[str, str]]:
    """(place, expression text) of each expression within a value.

    Raises `ExpressionError` only while being read; callers look at one place at a time.
    """
    match value:
        case str():
            for match in _PIECE.finditer(value):
                yield at, match[1]
        case list():
            for index, item in enumerate(value):
                yield from expressions_in(item, f"{at}[{index}]")
        case dict():
            for key, item in value.items():
                yield from expressions_in(item, f"{at}.{key}")


def unclosed(text: str) -> bool:
    """Whether braces are opened that no expression closes."""
    return OPENING in _PIECE.sub("", text)


def read_condition(text: str) -> Node:
    """The tree of a text that is one expression, with or without its braces. Raises `ExpressionError`."""
    match = _PIECE.fullmatch(text.strip())
    return parse(match[1] if match else text)


def resolve(value: Any, values: Values) -> Any:
    """The same value with every expression in it evaluated. Raises `ExpressionError`."""
    match value:
        case str() if OPENING in value:
            return _resolve_text(value, values)
        case list():
            return [resolve(item, values) for item in value]
        case dict():
            return {key: resolve(item, values) for key, item in value.items()}
    return value


def _resolve_text(text: str, values: Values) -> Any:
    """A text that is one expression gives its value as it is."""
    if whole := _PIECE.fullmatch(text.strip()):
        return plain(evaluate(parse(whole[1]), values))
    made = _PIECE.sub(lambda match: as_text(evaluate(parse(match[1]), values)), text)
    if len(made) > MAX_TEXT:
        raise ExpressionError(_("It gives a text of more than %(size)d KiB.") % {"size": MAX_TEXT // 1024})
    return made
