"""Who asks, and how: what every verb needs to know besides its object."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .store import Object


@dataclass(frozen=True, slots=True)
class Identity:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        return "system:masters" in self.groups


SYSTEM = Identity("system:apiserver", ("system:masters", "system:authenticated"))


@dataclass(frozen=True, slots=True)
class Call:
    identity: Identity = SYSTEM
    dry_run: bool = False
    subresource: str = ""
    # The field owners once the second object has taken the first one's place; None: a writer that is not tracked.
    owns: Callable[[Object | None, Object], Iterable[Object]] | None = None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    grace: int | None = None
    policy: str | None = None
    uid: str | None = None
    version: str | None = None
