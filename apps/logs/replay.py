"""Skipping exactly what is stored when a log is asked for again.

The API server answers from the whole second of the last stored line on. Such an answer begins with the stored lines
of that time, in the order of the node's file, unless the node has forgotten some: then it begins later.
"""

from collections.abc import Iterable, Iterator

from .lines import Record


class Replay:
    """Compares an answer, record by record, with what is stored from the same second on.

    `is_over`: the answer has passed what is stored. `met_last`: it contained the last stored line, so nothing lies
    between what is stored and what follows.
    """

    def __init__(self, stored: Iterable[Record]) -> None:
        self._stored: Iterator[Record] = iter(stored)
        self._next = next(self._stored, None)
        self.is_over = self.met_last = self._next is None

    def is_known(self, record: Record) -> bool:
        """Whether `record` is stored already. Once it answers no, everything after is new."""
        if self.is_over:
            return False
        while self._next is not None:
            same = self._next == record
            self._next = next(self._stored, None)
            if same:
                self.met_last = self.is_over = self._next is None
                return True
        self.is_over = True  # None of the stored lines: the node has forgotten the place where we were.
        return False
