"""The small language between `{{` and `}}`: paths into a run's values, comparisons, filters. No way into Python."""

from .evaluating import Values, evaluate
from .parsing import ExpressionError, Node, Path, parse, paths_in
from .texts import expressions_in, holds_expression, read_condition, resolve

__all__ = [
    "ExpressionError",
    "Node",
    "Path",
    "Values",
    "evaluate",
    "expressions_in",
    "holds_expression",
    "parse",
    "paths_in",
    "read_condition",
    "resolve",
]
