"""The store, or a viewer's screen, against the oracle: what is missing, doubled, disordered, or gone without a word."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

GAP = b"g"


class Stored(NamedTuple):
    """A record as somebody has it. `line` is the kubelet's: stamp, space, text; of a gap row its sentence."""

    kind: bytes
    line: bytes


@dataclass
class Verdict:
    """Counts of lines; `silent` are missing ones that no gap row stands for, `withheld` missing ones that were handed
    over. `where` tells of the first few."""

    written: int = 0
    stored: int = 0
    missing: int = 0
    silent: int = 0
    withheld: int = 0
    doubled: int = 0
    disordered: int = 0
    foreign: int = 0
    gaps: int = 0
    where: list[str] = field(default_factory=list)

    def __add__(self, other: "Verdict") -> "Verdict":
        numbers = {name: value + getattr(other, name) for name, value in vars(self).items() if name != "where"}
        return Verdict(**numbers, where=(self.where + other.where)[:12])

    @property
    def is_exact(self) -> bool:
        return not (self.missing or self.doubled or self.disordered or self.foreign)

    @property
    def is_honest(self) -> bool:
        """Nothing is gone without a word, and nothing that was handed over is gone."""
        return not (self.silent or self.withheld or self.doubled or self.disordered or self.foreign)

    def __str__(self) -> str:
        text = f"{self.missing} lost, {self.doubled} doubled, {self.disordered} disordered"
        text += f", {self.foreign} altered" if self.foreign else ""
        text += f", {self.silent} silently" if self.silent else ""
        text += f", {self.withheld} that were read" if self.withheld else ""
        return text + f" of {self.written:,}"


def compare(
    written: Sequence[bytes], stored: Iterable[Stored], *, name: str = "", delivered: Iterable[Sequence[int]] = ()
) -> Verdict:
    """One container run. `written`: its lines in order, without newlines. `delivered`: [first, end) handed over."""
    places = {line: number for number, line in enumerate(written)}
    verdict = Verdict(written=len(written))
    seen = bytearray(len(written))
    covered = bytearray(len(written) + 1)  # lines a gap row stands for
    last, gap_open = -1, False
    for kind, line in stored:
        if kind == GAP:
            verdict.gaps += 1
            gap_open = True
            continue
        verdict.stored += 1
        place = places.get(line)
        if place is None:
            verdict.foreign += 1
            verdict.where.append(f"{name}: no such line was written: {line[:90]!r}")
        elif seen[place]:
            verdict.doubled += 1
            verdict.where.append(f"{name}: line {place} again after {last}")
        else:
            seen[place] = 1
            if place < last:
                verdict.disordered += 1
                verdict.where.append(f"{name}: line {place} after {last}")
            elif gap_open:
                covered[last + 1 : place] = b"\1" * (place - last - 1)
            last, gap_open = max(last, place), False
    if gap_open:
        covered[last + 1 : len(written)] = b"\1" * (len(written) - last - 1)
    _count_missing(verdict, seen, covered, name, delivered)
    verdict.where = verdict.where[:12]
    return verdict


def _count_missing(
    verdict: Verdict, seen: bytearray, covered: bytearray, name: str, delivered: Iterable[Sequence[int]]
) -> None:
    handed = bytearray(len(seen))
    for first, end in delivered:
        handed[first:end] = b"\1" * (min(end, len(seen)) - first)
    place = 0
    while (place := seen.find(b"\0", place)) >= 0:
        end = seen.find(b"\1", place)
        end = len(seen) if end < 0 else end
        silent = covered.count(b"\0", place, end)
        verdict.missing += end - place
        verdict.silent += silent
        verdict.withheld += handed.count(b"\1", place, end)
        verdict.where.append(f"{name}: lines {place} to {end - 1} missing, {'silently' if silent else 'declared'}")
        place = end
