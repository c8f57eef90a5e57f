"""How a benchmark reports: measured · bar · reference · verdict, and an exit code."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    what: str
    measured: str
    bar: str
    reference: str
    passed: bool | None = None  # None: told, not judged


def report(rows: list[Row]) -> int:
    """Print the table; 1 when any row failed."""
    head = ("what", "measured", "bar", "reference", "")
    lines = [head, *((r.what, r.measured, r.bar, r.reference, verdict(r)) for r in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    for line in lines:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")
    return 1 if any(row.passed is False for row in rows) else 0


def verdict(row: Row) -> str:
    return {True: "PASS", False: "FAIL", None: ""}[row.passed]


def percentile(values: list[float], percent: float) -> float:
    """Nearest rank; 0 for nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))] if ordered else 0.0
