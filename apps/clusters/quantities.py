"""Kubernetes quantities and Cube's way to write a request and a limit in one field.

    cpu "2" -> request 2, limit 2     "2~4" -> request 2, limit 4     "500m~1"
    memory "10Gi", "64Mi~256Mi"
    gpu "0", "1", "2(A100)": whole cards; request and limit are always equal, as Kubernetes
        demands of extended resources

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from apps.core.errors import InvalidInput

SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
}
QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(n|u|m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?", re.ASCII)
GPU = re.compile(r"(\d{1,4})(?:\(([A-Za-z0-9][A-Za-z0-9._-]{0,61}[A-Za-z0-9]|[A-Za-z0-9])\))?", re.ASCII)
DEFAULTS = {"cpu": "500m~1", "memory": "512Mi~1Gi", "gpu": "0"}


def parse_quantity(text: str) -> Decimal:
    """`"1.5Gi"` -> Decimal of the base unit (cores, bytes). Raises ValueError."""
    match = QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    return Decimal(match[1]) * SUFFIXES[match[2] or ""]


@dataclass(frozen=True)
class Range:
    """What is reserved and what is the most allowed, as Kubernetes quantity strings."""

    request: str
    limit: str

    def __str__(self) -> str:
        return self.request if self.request == self.limit else f"{self.request}~{self.limit}"


@dataclass(frozen=True)
class Resources:
    """What one pod asks for."""

    cpu: Range
    memory: Range
    gpu_count: int = 0
    gpu_type: str = ""

    @classmethod
    def parse(cls, raw: Mapping[str, Any] | None, *, path: str = "resources") -> "Resources":
        """Read `{"cpu", "memory", "gpu"}`; what is absent gets the default.

        Raises InvalidInput naming every bad field.
        """
        if raw is not None and not isinstance(raw, Mapping):
            raise InvalidInput({path: "Must be an object with cpu, memory and gpu."})
        given = dict(raw or {})
        errors = {f"{path}.{key}": "Unknown resource; use cpu, memory or gpu." for key in given if key not in DEFAULTS}
        values: dict[str, Any] = {}
        for key, default in DEFAULTS.items():
            try:
                text = given.get(key)
                values[key] = PARSERS[key](default if text in (None, "") else text)
            except ValueError as error:
                errors[f"{path}.{key}"] = str(error)
        if errors:
            raise InvalidInput(errors)
        count, card = values["gpu"]
        return cls(values["cpu"], values["memory"], count, card)

    def as_dict(self) -> dict[str, str]:
        """The written form, which `parse` reads back."""
        gpu = f"{self.gpu_count}({self.gpu_type})" if self.gpu_type else str(self.gpu_count)
        return {"cpu": str(self.cpu), "memory": str(self.memory), "gpu": gpu}


def _range(text: Any, *, example: str, least: str) -> Range:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"Write a quantity such as {example}.")
    request, tilde, limit = str(text).strip().partition("~")
    limit = limit if tilde else request
    try:
        low, high = parse_quantity(request), parse_quantity(limit)
    except ValueError:
        raise ValueError(f"{str(text)[:40]!r} is not a quantity; write for example {example}.") from None
    if low < parse_quantity(least):
        raise ValueError(f"Must be at least {least}.")
    if high < low:
        raise ValueError(f"The limit ({limit.strip()}) is below the request ({request.strip()}).")
    return Range(request.strip(), limit.strip())


def _cpu(text: Any) -> Range:
    return _range(text, example='"2" or "500m~4"', least="1m")


def _memory(text: Any) -> Range:
    return _range(text, example='"10Gi" or "512Mi~2Gi"', least="4Mi")


def _gpu(text: Any) -> tuple[int, str]:
    match = None if isinstance(text, bool) else GPU.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f'{str(text)[:40]!r} is not a number of GPUs; write for example "1" or "2(A100)".')
    return int(match[1]), match[2] or ""


PARSERS = {"cpu": _cpu, "memory": _memory, "gpu": _gpu}
