"""Kubernetes quantities: `250m`, `1.5`, `64Mi`, `1e3`.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def parse(quantity: str | float) -> Decimal:
    """The exact number a quantity stands for; `ValueError` where it is none."""
    text = str(quantity).strip()
    number = text.rstrip("numkKMGTPEi")
    try:
        return Decimal(number) * _SUFFIXES[text[len(number) :]]
    except (InvalidOperation, KeyError) as error:
        raise ValueError(f"not a quantity: {quantity!r}") from error


def ceil_div(quantity: str, divisor: str = "1") -> int:
    """What a `resourceFieldRef` shows: quantity over divisor, rounded up (0.3 cpu shows as 1)."""
    return math.ceil(parse(quantity) / (parse(divisor) or 1))
