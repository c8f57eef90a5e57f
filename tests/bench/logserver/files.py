"""The node's files: what a container run wrote, which part of it can still be read, and the ledger of all of it."""

import asyncio
import hashlib
from collections import deque
from typing import NamedTuple

from .lines import BLOCK_LINES, render, render_block
from .rules import Rules

MOST_BYTES = 64 * 1024  # of one piece handed to a reader
STAMP = 30


class Block(NamedTuple):
    """Lines written in one go. `low` and `high` are their least and greatest stamps."""

    data: bytes
    first: int
    count: int
    low: bytes
    high: bytes


class Piece(NamedTuple):
    """What a reader gets next: bytes, and the numbers of the lines they end."""

    data: bytes
    first: int
    count: int


class File:
    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.size = 0


class Ledger:
    """Everything one container run wrote, and what of it was handed to some connection."""

    def __init__(self, *, keeps: bool) -> None:
        self.lines = self.bytes = self.rotations = 0
        self.digest = hashlib.blake2b(digest_size=16)
        self.last_written = 0
        self.kept: list[bytes] | None = [] if keeps else None
        self.delivered: list[list[int]] = []  # [first, end), merged
        self.rotated_at: deque[int] = deque(maxlen=2000)  # the number of the first line of each newer file

    def write(self, data: bytes, count: int) -> None:
        self.lines += count
        self.bytes += len(data)
        self.digest.update(data)
        if self.kept is not None:
            self.kept.append(data)

    def deliver(self, first: int, count: int) -> None:
        if not count:
            return
        if self.delivered and self.delivered[-1][0] <= first <= self.delivered[-1][1]:
            self.delivered[-1][1] = max(self.delivered[-1][1], first + count)
        else:
            self.delivered.append([first, first + count])


class Run:
    """One container instance: its newest file, its ledger, and those who wait for more."""

    def __init__(self, rules: Rules) -> None:
        self.file = File()
        self.ledger = Ledger(keeps=rules.keep_lines)
        self.is_ended = self.is_lost = False  # lost: with its node, in the middle of whatever was going on
        self.flat_until = 0.0  # until then it writes as fast as somebody reads
        self.listeners: set[asyncio.Event] = set()

    def write(self, data: bytes) -> None:
        """Append lines, all ending in a newline, each beginning with its stamp."""
        if data.count(b"\n") == 1:
            low = high = data[:STAMP]
            count = 1
        else:
            stamps = [line[:STAMP] for line in data.splitlines()]
            low, high, count = min(stamps), max(stamps), len(stamps)
        self._append(data, count, low, high)

    def write_flat(self) -> None:
        """The next 1,000 lines; after other writings, first the few that lead to a whole thousand."""
        if over := self.ledger.lines % BLOCK_LINES:
            self.write(render(self.ledger.lines, BLOCK_LINES - over))
        data = render_block(self.ledger.lines // BLOCK_LINES)
        end = data.rindex(b"\n", 0, -1) + 1
        self._append(data, BLOCK_LINES, data[:STAMP], data[end : end + STAMP])

    def _append(self, data: bytes, count: int, low: bytes, high: bytes) -> None:
        self.file.blocks.append(Block(data, self.ledger.lines, count, low, high))
        self.file.size += len(data)
        self.ledger.write(data, count)
        self.tell()

    def rotate(self) -> None:
        self.file = File()
        self.ledger.rotations += 1
        self.ledger.rotated_at.append(self.ledger.lines)
        self.tell()

    def end(self) -> None:
        self.is_ended = True
        self.tell()

    def lose(self) -> None:
        self.is_lost = self.is_ended = True
        self.tell()

    def tell(self) -> None:
        for each in self.listeners:
            each.set()


class Reader:
    """One reading of a run's log: starts in the newest file, and there only."""

    def __init__(self, run: Run, *, since: bytes = b"", tail: int | None = None) -> None:
        self.run, self._since, self._file = run, since, run.file
        self._at, self._skip = (0, 0) if tail is None else _start_of_tail(run.file, tail)
        self.news = asyncio.Event()

    @property
    def is_rotated_away(self) -> bool:
        return self.run.file is not self._file

    def take(self, *, may_turn: bool = True) -> Piece | None:
        """The next bytes, or None at the end. `may_turn`: after a rotation go on in the newest file."""
        self.news.clear()
        while True:
            if piece := self._from_file():
                return piece
            if not (may_turn and self.is_rotated_away):
                return None
            self._file, self._at, self._skip = self.run.file, 0, 0

    def _from_file(self) -> Piece | None:
        parts: list[bytes] = []
        size = first = count = 0
        blocks = self._file.blocks
        while self._at < len(blocks) and size < MOST_BYTES:
            block = self._wanted(blocks[self._at])
            self._at, self._skip = self._at + 1, 0
            if not block.count:
                continue
            if parts and block.first != first + count:  # A hole that `sinceTime` made: told apart.
                self._at -= 1
                break
            first = first if parts else block.first
            parts.append(block.data)
            size += len(block.data)
            count += block.count
        return Piece(b"".join(parts), first, count) if parts else None

    def _wanted(self, block: Block) -> Block:
        """The lines at or after `since`, each asked for itself: clocks are set back, too."""
        if self._skip:
            lines = block.data.splitlines(keepends=True)[self._skip :]
            block = block._replace(data=b"".join(lines), first=block.first + self._skip, count=len(lines))
        if block.low >= self._since:
            return block
        if block.high < self._since:
            return block._replace(count=0)
        lines = block.data.splitlines(keepends=True)
        kept = [line for line in lines if line[:STAMP] >= self._since]
        # Within one writing the clock does not step: what is left out lies in front.
        return block._replace(data=b"".join(kept), first=block.first + len(lines) - len(kept), count=len(kept))


def _start_of_tail(file: File, number: int) -> tuple[int, int]:
    """(block, lines to skip in it) such that `number` lines follow."""
    left = number
    for at in range(len(file.blocks) - 1, -1, -1):
        count = file.blocks[at].count
        if count >= left:
            return at, count - left
        left -= count
    return 0, 0
