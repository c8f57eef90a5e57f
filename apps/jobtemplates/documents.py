"""Schemas and bodies as data: plain JSON only, read from JSON or YAML text that may be hostile."""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml
from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput

MAX_TEXT = 512 * 1024  # characters of a pasted document
MAX_DEPTH = 24
MAX_NODES = 20_000


def problems_in(value: Any, at: str, *, most: int = MAX_NODES) -> Iterator[tuple[str, str]]:
    """What keeps `value` from being stored as JSON everywhere: (path, message) pairs, cheapest reading first.

    PostgreSQL's jsonb takes neither NUL nor lone surrogates, JSON has no NaN, and every later walk recurses.
    """
    waiting: list[tuple[Any, str, int]] = [(value, at, 0)]
    seen = 0
    while waiting:
        item, path, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH:
            yield path[:200], _("Nested too deeply: at most %(depth)d levels.") % {"depth": MAX_DEPTH}
            return
        if seen > most:
            yield at, _("Too large: at most %(count)d values.") % {"count": most}
            return
        match item:
            case dict():
                for key, child in item.items():
                    if not isinstance(key, str) or text_problem(key):
                        yield path, _("Keys must be plain text.")
                    else:
                        waiting.append((child, f"{path}.{key}", depth + 1))
            case list():
                waiting.extend((child, f"{path}[{i}]", depth + 1) for i, child in enumerate(item))
            case str():
                if problem := text_problem(item):
                    yield path, problem
            case bool() | None | int():
                pass
            case float() if math.isfinite(item):
                pass
            case _:
                yield path, _("Only text, numbers, true, false, null, lists and objects are allowed here.")


def text_problem(text: str) -> str:
    """Why `text` cannot be kept or handed to a process; empty when it can."""
    if "\x00" in text:
        return _("NUL characters are not allowed.")
    try:
        text.encode()
    except UnicodeEncodeError:
        return _("This is not valid text: it contains half a character (a lone surrogate).")
    return ""


class _PlainLoader(yaml.SafeLoader):
    """YAML that means what JSON means: no anchors (bombs), no duplicate keys, no dates, no yes/no/on/off."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem=_("references (*name) are not allowed"),
                problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem=_("keys must be plain text"), problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=_("the key %(key)s is written twice") % {"key": key.value}, problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_PlainLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"-?(?:0|[1-9][0-9]{0,17})", list("-0123456789")),
    ("float", r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,3})?", list("-0123456789")),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def read_document(text: str, *, at: str) -> Any:
    """The value of a JSON or YAML text. Raises `InvalidInput` at `at` naming line and column of what is wrong."""
    if len(text) > MAX_TEXT:
        raise InvalidInput({at: _("Too long: at most %(size)d KiB.") % {"size": MAX_TEXT // 1024}})
    try:
        value = yaml.load(text, Loader=_PlainLoader)  # noqa: S506  a stricter SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidInput({at: f"{_place(mark)}{error.problem or error.context}."}) from None
    except RecursionError:
        raise InvalidInput({at: _("Nested too deeply: at most %(depth)d levels.") % {"depth": MAX_DEPTH}}) from None
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidInput({at: _("Neither JSON nor YAML: %(why)s") % {"why": str(error)[:300]}}) from None
    if problems := dict(problems_in(value, at)):
        raise InvalidInput(problems)
    return value


def _place(mark: Any) -> str:
    return _("Line %(line)d, column %(column)d: ") % {"line": mark.line + 1, "column": mark.column + 1} if mark else ""
