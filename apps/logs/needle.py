"""What is looked for in logs: a text, or a regular expression of RE2, whose time is linear whatever the lines hold."""

import re
from collections.abc import Iterator
from typing import Any

import re2
from django.utils.translation import gettext as _

from .expressions import words_of
from .lines import HEAD
from .store import ngrams

LONGEST = 1000  # characters
BEGINNING = re.compile(r"(?<!\[)\^|\\[AzC]")  # anchors, and `\C`, that mean something else inside a body
MOST_PROGRAM = 8 << 20  # bytes RE2 may take for an expression
try:  # The parser of `re` has no public name before Python 3.11, and no promise after.
    from re import _constants as _codes  # type: ignore[attr-defined]
    from re import _parser
except ImportError:  # pragma: no cover
    _parser = None


class BadNeedle(ValueError):
    """The expression cannot be looked for; the message says why, in words for whoever typed it."""


class Needle:
    """Raises BadNeedle. `case`: whether capitals matter."""

    def __init__(self, text: str, *, regex: bool = False, case: bool = False) -> None:
        if not text:
            raise BadNeedle(_("Say what to look for."))
        if len(text) > LONGEST:
            raise BadNeedle(_("Use at most %d characters.") % LONGEST)
        if "\n" in text:
            raise BadNeedle(_("A line holds no line break, so nothing would be found."))
        options = re2.Options()
        options.case_sensitive, options.log_errors, options.max_mem = case, False, MOST_PROGRAM
        expression = text if regex else re2.escape(text)
        try:
            self._pattern = re2.compile(expression.encode(), options)
            # `$` is the end of any line in here; where a line's text begins cannot be said.
            self._in_body = (
                None if BEGINNING.search(expression) else re2.compile(f"(?m:{expression})".encode(), options)
            )
        except re2.error as error:
            raise BadNeedle(_("This is no regular expression that RE2 knows: %s") % words_of(error)) from None
        literals = required_literals(text) if regex else [text]
        # Capitals beyond ASCII are folded by RE2 and not by the filter, so they are not asked of it.
        self._literals = [each.encode() for each in literals if case or each.isascii()]
        self.grams = [found for found in map(ngrams.grams_of, self._literals) if len(found)]
        self._finder = max(self._literals, key=len, default=b"") if case else b""

    def search(self, text: bytes) -> Any:
        """The first match in a line's text, or None."""
        return self._pattern.search(text)

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """Where in a line's text it is found, in bytes; empty matches do not count."""
        return [match.span() for match in self._pattern.finditer(text) if match.end() > match.start()]

    def records_in(self, body: bytes) -> Iterator[tuple[int, bytes]]:
        """(index, record without its newline) of the records of a body that match."""
        if self._finder and self._finder not in body:
            return
        at, counted = 0, 0
        while at < len(body):
            if self._in_body is not None:
                # One search through many lines, stamps included, is far cheaper than a search a line. Where it finds
                # something, the line's text is asked by itself.
                found = self._in_body.search(body, at)
                if found is None:
                    return
                begin = body.rfind(b"\n", at, found.start()) + 1 or at
                counted += body.count(b"\n", at, begin)
                at = begin
            end = body.find(b"\n", at)
            if self._pattern.search(body[at + HEAD : end]) is not None:
                yield counted, body[at:end]
            at, counted = end + 1, counted + 1


def required_literals(pattern: str) -> list[str]:
    """Texts that every match holds, as far as they can be told; none is a right answer too."""
    if _parser is None or re.search(r"\(\?[a-zA-Z-]", pattern):
        return []
    try:
        tree = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError):
        return []
    return [text for text in _runs(tree) if len(text) >= ngrams.GRAM]


def _runs(tree: Any) -> list[str]:
    found, run = [], ""
    for code, argument in tree:
        if code is _codes.LITERAL:
            run += chr(argument)
            continue
        found.append(run)
        run = ""
        if code is _codes.SUBPATTERN:
            found += _runs(argument[-1])
        elif code in (_codes.MAX_REPEAT, _codes.MIN_REPEAT) and argument[0] > 0:
            found += _runs(argument[2])
    return [text for text in [*found, run] if text]
