"""What all pods of a node share."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, field
from pathlib import Path

from apps.devcluster.client import Client, Informer, Object
from apps.devcluster.kubelet.cgroups import Cgroups
from apps.devcluster.kubelet.sandbox import SHARED_LOOPBACK, Sandbox
from apps.devcluster.kubelet.usage import Usage
from apps.devcluster.loops import Recorder

HOST_IP = "127.0.0.1"


class Addresses:
    """Gives each pod an address of its own where the whole of 127/8 answers (Linux), else the shared one."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers = itertools.cycle(range(2, 250 * 250))

    def take(self) -> str:
        """An address nobody holds."""
        if sys.platform != "linux":
            return SHARED_LOOPBACK
        while True:
            number = next(self._numbers)
            address = f"127.{64 + number // 62500}.{number // 250 % 250}.{number % 250 + 2}"
            if address not in self._taken:
                self._taken.add(address)
                return address

    def release(self, address: str) -> None:
        """Give it back."""
        self._taken.discard(address)


@dataclass
class NodeContext:
    """Clients, folders and registries of this process's kubelet."""

    client: Client
    recorder: Recorder
    sandbox: Sandbox
    cgroups: Cgroups
    usage: Usage
    data_dir: Path
    services: Informer
    slices: Informer
    nodes: dict[str, Object]
    api_host: str
    api_port: int
    denied_images: tuple[str, ...] = ()
    addresses: Addresses = field(default_factory=Addresses)

    def pod_folder(self, uid: str) -> Path:
        """Where everything of one pod lives."""
        return self.data_dir / "pods" / uid

    @property
    def pid_dir(self) -> Path:
        """One file per running launcher."""
        return self.data_dir / "run" / "pids"
