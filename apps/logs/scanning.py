"""The part of a search that reads the store: streams cut into pieces of work, scanned by a few threads.

zstd and RE2 let other threads run while they work, so pieces are scanned side by side; what is found keeps its order.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from . import store
from .lines import GAP, Line
from .needle import Needle

PIECE_BYTES = 1024 * 1024  # as stored: some 10 MiB of text, which is scanned in well under a second
PIECE_LINES = 200_000


class Piece(NamedTuple):
    """Lines [start, end) of a stream. `size`: the bytes that are read for them, at most."""

    source: store.Source
    start: int
    end: int
    size: int


def pieces_of(source: store.Source, start: int, since: bytes, until: bytes) -> Iterator[Piece]:
    """Neighbouring segments together until there is enough to do; what lies outside the times is left out."""
    begin, size, end = start, 0, start
    for segment in source.segments:
        if segment.end <= start or segment.latest < since or segment.earliest >= until:
            continue
        if size == 0:
            begin = max(start, segment.first)
        size, end = size + segment.size, segment.end
        if size >= PIECE_BYTES or end - begin >= PIECE_LINES:
            yield Piece(source, begin, end, size)
            size = 0
    if size:
        yield Piece(source, begin, end, size)


def scan_piece(piece: Piece, needle: Needle, since: bytes, until: bytes, limit: int) -> list[Line]:
    """The first `limit` lines of the piece that hold `needle` and are stamped in [since, until). Raises store.Moved."""
    lines = store.scan(piece.source, needle, piece.start, piece.end, since=since, until=until)
    return list(islice((line for line in lines if line.kind != GAP), limit))


@lru_cache(maxsize=1)
def _pool(pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="log-search")


def pool() -> ThreadPoolExecutor:
    """Shared by all searches of this process; a forked child makes its own."""
    return _pool(os.getpid())
