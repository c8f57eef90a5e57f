"""Skipping exactly what is stored when a log is asked for again.

The API server answers from the whole second of the last stored line on. Such an answer begins with the stored lines
of that time, in the order of the node's file, unless the node has forgotten some: then it begins later.
"""

from collections.abc import Iterable, Iterator

from .lines import HEAD, MASK


class Replay:
    """Compares an answer with the stored records (without newlines) from the same second on.

    `is_over`: the answer has passed what is stored. `met_last`: it contained the last stored line, so nothing lies
    between what is stored and what follows.
    """

    def __init__(self, stored: Iterable[bytes] = ()) -> None:
        self._stored: Iterator[bytes] = iter(stored)
        self._next = next(self._stored, None)
        self.is_over = self.met_last = self._next is None

    def new_part(self, body: bytes) -> bytes:
        """The records of `body` that are not stored yet. Once there are some, everything after is new."""
        at = 0
        while not self.is_over and at < len(body):
            end = body.index(b"\n", at)
            if not self._knows(body[at:end]):
                break
            at = end + 1
        return body[at:] if at else body

    def _knows(self, raw: bytes) -> bool:
        while self._next is not None:
            same = _same(self._next, raw)
            self._next = next(self._stored, None)
            if same:
                self.met_last = self.is_over = self._next is None
                return True
        self.is_over = True  # None of the stored lines: the node has forgotten the place where we were.
        return False


def _same(stored: bytes, raw: bytes) -> bool:
    """Equal, or equally stamped where one is masked: what is masked may have changed since the line was stored."""
    if stored == raw:
        return True
    return stored[:HEAD] == raw[:HEAD] and (MASK in stored or MASK in raw)
