"""Resource quantities: parsing, arithmetic and Kubernetes' canonical spelling (apimachinery/pkg/api/resource)."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import lru_cache

PATTERN = re.compile(r"^([+-]?[0-9]*\.?[0-9]*)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]+|)$")
BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
REGEX = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
MALFORMED = f"quantities must match the regular expression '{REGEX}'"


@lru_cache(maxsize=4096)
def parse(text: str) -> Decimal:
    """The exact number a quantity stands for; `ValueError` where it is none."""
    found = PATTERN.match(text)
    if not found or not any(c.isdigit() for c in found[1]):
        raise ValueError(MALFORMED)
    number, suffix = Decimal(found[1]), found[2]
    if suffix in BINARY:
        return number * Decimal(1024 ** BINARY[suffix])
    if suffix in DECIMAL:
        return number.scaleb(DECIMAL[suffix])
    return number.scaleb(int(suffix[1:]))


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The spelling a server answers with: 0.5 is 500m, 1024Mi is 1Gi."""
    return spell(parse(text), binary=text.endswith("i"))


def spell(value: Decimal, *, binary: bool = False) -> str:
    """A number as a quantity, with the largest suffix that keeps it exact."""
    if value == 0:
        return "0"
    if binary and abs(value) >= 1024 and value == value.to_integral_value():
        whole, power = int(value), 0
        while whole % 1024 == 0 and power < 6:
            whole, power = whole // 1024, power + 1
        return f"{whole}{ {v: k for k, v in BINARY.items()}[power] if power else '' }"
    for suffix, exponent in sorted(DECIMAL.items(), key=lambda item: -item[1]):
        scaled = value.scaleb(-exponent)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    return f"{int(value.scaleb(9).to_integral_value(rounding='ROUND_CEILING'))}n"


def ceil_div(quantity: str, divisor: str = "1") -> int:
    """What a `resourceFieldRef` shows: quantity over divisor, rounded up (0.3 cpu shows as 1)."""
    return math.ceil(parse(quantity) / (parse(divisor) or 1))
