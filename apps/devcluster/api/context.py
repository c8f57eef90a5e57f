"""What the handlers of requests share."""

from __future__ import annotations

from dataclasses import dataclass

from .node_port import NodePort
from .objects import Objects
from .registry import Registry
from .store import Store
from .tokens import Tokens


@dataclass(frozen=True, slots=True)
class Api:
    """`node`: the kubelets' side, where this process has one."""

    objects: Objects
    tokens: Tokens
    node: NodePort | None

    @property
    def store(self) -> Store:
        return self.objects.store

    @property
    def registry(self) -> Registry:
        return self.objects.registry
