"""Text to tree. The grammar, loosest first:

either  = both ("or" both)*            both   = nay ("and" nay)*            nay = "not" nay | compared
compared = piped (("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") piped)?
piped   = atom ("|" name ("(" [either ("," either)*] ")")?)*
atom    = literal | list | "(" either ")" | name step*      step = "." name | "[" (number | text) "]"
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.utils.translation import gettext as _

MAX_LENGTH = 1000  # characters
MAX_DEPTH = 32  # levels
HEADS = frozenset({"params", "outputs", "item", "index", "run"})
WORDS = {"true": True, "false": False, "null": None}
OPERATORS = frozenset({"and", "or", "not", "in"})
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?![\w.]))
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<name>[A-Za-z][A-Za-z0-9_]{0,63})
    | (?P<sign>==|!=|<=|>=|[<>()\[\],.|])
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


class ExpressionError(Exception):
    """What is wrong with an expression, or with what it met, as a sentence for the person who wrote it."""


@dataclass(frozen=True)
class Literal:
    value: Any


@dataclass(frozen=True)
class ListOf:
    items: tuple["Node", ...]


@dataclass(frozen=True)
class Path:
    head: str
    steps: tuple[str | int, ...]

    def __str__(self) -> str:
        return self.head + "".join(f".{s}" if isinstance(s, str) else f"[{s}]" for s in self.steps)


@dataclass(frozen=True)
class Not:
    operand: "Node"


@dataclass(frozen=True)
class Binary:
    """`and`, `or` and the comparisons; "not in" is one operator."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True)
class Filtered:
    operand: "Node"
    name: str
    arguments: tuple["Node", ...]


Node = Literal | ListOf | Path | Not | Binary | Filtered


@lru_cache(maxsize=4096)
def parse(text: str) -> Node:
    """The tree of an expression, without its braces. Raises `ExpressionError` saying where it goes wrong."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(_("An expression has at most %(count)d characters.") % {"count": MAX_LENGTH})
    parser = _Parser(list(_tokens(text)))
    node = parser.either(0)
    parser.expect("end", "")
    return node


def paths_in(node: Node) -> Iterator[Path]:
    """Every path an expression reads."""
    match node:
        case Path():
            yield node
        case ListOf(items):
            for item in items:
                yield from paths_in(item)
        case Not(operand):
            yield from paths_in(operand)
        case Binary(_operator, left, right):
            yield from paths_in(left)
            yield from paths_in(right)
        case Filtered(operand, _name, arguments):
            for part in (operand, *arguments):
                yield from paths_in(part)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place <= len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            rest = text[place:].lstrip()
            raise ExpressionError(_unexpected(rest[:1], len(text) - len(rest)))
        kind = match.lastgroup or ""
        yield _Token(kind, match[kind], match.start(kind))
        if kind == "end":
            return
        place = match.end()


def _unexpected(what: str, at: int) -> str:
    if what == "_":
        return _("Names begin with a letter: what begins with '_' is no part of this language.")
    shown = {"what": what or _("the end"), "at": at + 1}
    return _("%(what)s is not expected at character %(at)d of the expression.") % shown


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens, self.place = tokens, 0

    @property
    def now(self) -> _Token:
        return self.tokens[self.place]

    def take(self, *texts: str, kind: str = "sign") -> str:
        """The next token's text when it is one of these, else empty."""
        token = self.now
        if token.kind == kind and token.text in texts:
            self.place += 1
            return token.text
        return ""

    def expect(self, kind: str, text: str | None = None) -> str:
        token = self.now
        if token.kind != kind or (text is not None and token.text != text):
            raise ExpressionError(_unexpected(token.text, token.at))
        self.place += 1
        return token.text

    def either(self, depth: int) -> Node:
        return self._chain("or", self._both, depth)

    def _both(self, depth: int) -> Node:
        return self._chain("and", self._nay, depth)

    def _chain(self, operator: str, part: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise ExpressionError(_("An expression has at most %(count)d levels.") % {"count": MAX_DEPTH})
        node = part(depth)
        links = depth
        while self.take(operator, kind="name"):
            links += 1  # A chain leans to the left, so its length is depth too.
            if links > MAX_DEPTH * 4:
                raise ExpressionError(_("This expression is too long a chain of '%(word)s'.") % {"word": operator})
            node = Binary(operator, node, part(depth))
        return node

    def _nay(self, depth: int) -> Node:
        if self.take("not", kind="name"):
            if depth > MAX_DEPTH:
                raise ExpressionError(_("An expression has at most %(count)d levels.") % {"count": MAX_DEPTH})
            return Not(self._nay(depth + 1))
        return self._compared(depth)

    def _compared(self, depth: int) -> Node:
        left = self._piped(depth)
        operator = self.take("==", "!=", "<", "<=", ">", ">=") or self.take("in", kind="name")
        if not operator and [token.text for token in self.tokens[self.place : self.place + 2]] == ["not", "in"]:
            self.place += 2
            operator = "not in"
        return Binary(operator, left, self._piped(depth)) if operator else left

    def _piped(self, depth: int) -> Node:
        node = self._atom(depth)
        for _nth in range(MAX_DEPTH):
            if not self.take("|"):
                return node
            name = self.expect("name")
            arguments = self._list(")", depth + 1) if self.take("(") else ()
            node = Filtered(node, name, arguments)
        raise ExpressionError(_("An expression has at most %(count)d levels.") % {"count": MAX_DEPTH})

    def _list(self, closing: str, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self.take(closing):
            if items:
                self.expect("sign", ",")
            items.append(self.either(depth))
        return tuple(items)

    def _atom(self, depth: int) -> Node:
        token = self.now
        self.place += 1
        match token.kind, token.text:
            case "number", text:
                return Literal(float(text) if "." in text else int(text))
            case "text", text:
                return Literal(_unquoted(text))
            case "sign", "(":
                node = self.either(depth + 1)
                self.expect("sign", ")")
                return node
            case "sign", "[":
                return ListOf(self._list("]", depth + 1))
            case "name", text if text in WORDS:
                return Literal(WORDS[text])
            case "name", text if text not in OPERATORS:
                return self._path(text)
        self.place -= 1
        raise ExpressionError(_unexpected(token.text, token.at))

    def _path(self, head: str) -> Path:
        if head not in HEADS:
            known = ", ".join(sorted(HEADS))
            raise ExpressionError(_("There is no '%(name)s' here. Known: %(known)s.") % {"name": head, "known": known})
        steps: list[str | int] = []
        while sign := self.take(".", "[", "("):
            if sign == "(":
                raise ExpressionError(_("Nothing can be called. Filters are written as: value | filter."))
            steps.append(self.expect("name") if sign == "." else self._subscript())
            if len(steps) > MAX_DEPTH:
                raise ExpressionError(_("An expression has at most %(count)d levels.") % {"count": MAX_DEPTH})
        return Path(head, tuple(steps))

    def _subscript(self) -> str | int:
        token = self.now
        if token.kind == "text":
            step: str | int = _unquoted(self.expect("text"))
        else:
            number = self.expect("number")
            if not number.isdigit():
                raise ExpressionError(_unexpected(number, token.at))
            step = int(number)
        self.expect("sign", "]")
        return step


def _unquoted(text: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise ExpressionError(_("\\%(sign)s means nothing in a text.") % {"sign": match[1]})
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", replaced, text[1:-1], flags=re.DOTALL)
