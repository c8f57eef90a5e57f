"""A found line made ready to be shown: its text, cut around the match when it is long, and where the matches are."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from .needle import Needle

SHOWN_BYTES = 4 * 1024
BEFORE_BYTES = 200  # shown before the first match of a long line
MOST_SPANS = 100
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Part(NamedTuple):
    text: str
    is_match: bool


class Excerpt(NamedTuple):
    """`offset` bytes of the line come before `parts`; the whole line has `size`."""

    parts: list[Part]
    offset: int
    size: int

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)

    @property
    def spans(self) -> list[list[int]]:
        """[start, end) of each match in `text`, in characters."""
        found, at = [], 0
        for part in self.parts:
            if part.is_match:
                found.append([at, at + len(part.text)])
            at += len(part.text)
        return found

    @property
    def clean(self) -> list[Part]:
        """For people: without what moves cursors and sets colours."""
        return [Part(CONTROL.sub("", part.text), part.is_match) for part in self.parts]

    @property
    def is_cut_after(self) -> bool:
        return self.size > self.offset + SHOWN_BYTES


def excerpt(text: bytes, needle: Needle) -> Excerpt:
    """At most 4 KiB of the line, from a little before its first match on when the match lies deep in it."""
    spans = needle.spans(text)[:MOST_SPANS]
    offset = 0
    if len(text) > SHOWN_BYTES and spans and spans[0][1] > SHOWN_BYTES:
        offset = _whole_character(text, max(0, spans[0][0] - BEFORE_BYTES))
    return Excerpt(list(_parts(text, spans, offset, min(len(text), offset + SHOWN_BYTES))), offset, len(text))


def _whole_character(text: bytes, at: int) -> int:
    """The next place from `at` on where a UTF-8 character begins."""
    for place in range(at, min(at + 4, len(text))):
        if text[place] & 0xC0 != 0x80:
            return place
    return at


def _parts(text: bytes, spans: list[tuple[int, int]], at: int, end: int) -> Iterator[Part]:
    for start, stop in spans:
        if start >= end:
            break
        if start > at:
            yield Part(text[at:start].decode("utf-8", "replace"), False)
        if (stop := min(stop, end)) > max(at, start):
            yield Part(text[max(at, start) : stop].decode("utf-8", "replace"), True)
        at = max(at, stop)
    if end > at:
        yield Part(text[at:end].decode("utf-8", "replace"), False)
