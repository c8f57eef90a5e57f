"""What all pods of a node share."""

from __future__ import annotations

import itertools
import random
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
    """Gives each pod an address of its own where the whole of 127/8 answers (Linux), else the shared one.

    127.64 to 127.95, from a random one on: several clusters on one host seldom meet.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers = itertools.count(random.randrange(32 * 62500))  # noqa: S311 no secret

    def take(self) -> str:
        """An address nobody holds."""
        if sys.platform != "linux":
            return SHARED_LOOPBACK
        while True:
            number = next(self._numbers) % (32 * 62500)
            address = f"127.{64 + number // 62500}.{number // 250 % 250}.{number % 250 + 2}"
            if address not in self._taken:
                self._taken.add(address)
                return address

    def release(self, address: str) -> None:
        """Give it back."""
        self._taken.discard(address)


@dataclass(frozen=True)
class LogLimits:
    """containerLogMaxSize, containerLogMaxFiles and containerLogMonitorInterval, with the kubelet's defaults."""

    max_bytes: int = 10 << 20
    max_files: int = 5
    interval: float = 10.0


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
    nodes: dict[str, Object]  # those of this process, as last written
    api_host: str
    api_port: int
    denied_images: tuple[str, ...] = ()
    programs: str = ""
    logs: LogLimits = field(default_factory=LogLimits)
    addresses: Addresses = field(default_factory=Addresses)
    lost: set[str] = field(default_factory=set)  # nodes that are cut off

    def pod_folder(self, uid: str) -> Path:
        """Where everything of one pod lives."""
        return self.data_dir / "pods" / uid

    @property
    def pid_dir(self) -> Path:
        """One file per running launcher."""
        return self.data_dir / "run" / "pids"
