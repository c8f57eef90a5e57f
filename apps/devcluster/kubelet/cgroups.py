"""Memory and processor limits enforced by the kernel where this process may make cgroups (v1 or v2).

Sources: kernel docs admin-guide/cgroup-v1/memory.rst, scheduler/sched-bwc.rst and admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path("/sys/fs/cgroup")
PERIOD_MICROSECONDS = 100_000
# By controller: the file with the limit in v1 and in v2, and where the kernel counts kills for memory.
LIMIT_FILES = {"memory": ("memory.limit_in_bytes", "memory.max"), "cpu": ("cpu.cfs_quota_us", "cpu.max")}
EVENT_FILES = ("memory.oom_control", "memory.events")


@dataclass(frozen=True)
class Cgroup:
    """One container's folder in one hierarchy."""

    path: Path

    @property
    def procs(self) -> str:
        """The file a process writes itself into to join."""
        return str(self.path / "cgroup.procs")

    def limit(self, file: str, value: int) -> None:
        """Make the folder and set its limit."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / file).write_text(f"{value} {PERIOD_MICROSECONDS}" if file == "cpu.max" else str(value))

    def oom_kills(self) -> int:
        """How often the kernel killed for memory in here."""
        for file in EVENT_FILES:
            with contextlib.suppress(OSError, ValueError):
                for line in (self.path / file).read_text().splitlines():
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0

    def remove(self) -> None:
        """A cgroup can be removed once its last process is reaped."""
        with contextlib.suppress(OSError):
            self.path.rmdir()


class Cgroups:
    """Makes cgroups, or says that it cannot."""

    def __init__(self) -> None:
        found = {kind: self._detect(kind) for kind in LIMIT_FILES}
        self._kinds = {kind: place for kind, place in found.items() if place}

    def enforces(self, kind: str) -> bool:
        """Whether limits of `memory` or `cpu` are the kernel's."""
        return kind in self._kinds

    def limited(self, name: str, memory: int | None, cores: float | None) -> list[Cgroup]:
        """The cgroups that hold a container to these limits: none, one (v2) or one for each limit (v1)."""
        made: dict[Path, Cgroup] = {}
        quota = max(1000, int(cores * PERIOD_MICROSECONDS)) if cores else None
        for kind, value in (("memory", memory), ("cpu", quota)):
            if value and kind in self._kinds:
                base, file = self._kinds[kind]
                group = made.setdefault(base, Cgroup(base / f"{os.getpid()}-{name}"))
                try:
                    group.limit(file, value)
                except OSError:
                    made.pop(base).remove()
        return list(made.values())

    def sweep(self) -> None:
        """Remove what runs that are over left; several devclusters share the parent, so theirs are let be."""
        for base, _ in self._kinds.values():
            for path in base.iterdir():
                owner = path.name.split("-")[0]
                if path.is_dir() and owner.isdigit() and not psutil.pid_exists(int(owner)):
                    Cgroup(path).remove()

    @staticmethod
    def _detect(kind: str) -> tuple[Path, str] | None:
        """The parent folder and the limit's file, tried out: permissions alone would only be a guess."""
        for parent, file in zip((ROOT / kind, ROOT), LIMIT_FILES[kind], strict=True):
            base = parent / "devcluster"
            probe = Cgroup(base / f"probe-{os.getpid()}")
            try:
                if not (parent / "cgroup.procs").exists():
                    continue
                if parent == ROOT and kind not in (parent / "cgroup.subtree_control").read_text():
                    continue
                base.mkdir(exist_ok=True)
                if parent == ROOT:
                    (base / "cgroup.subtree_control").write_text(f"+{kind}")
                probe.limit(file, 2**30 if kind == "memory" else PERIOD_MICROSECONDS)
            except OSError:
                continue
            finally:
                probe.remove()
            return base, file
        return None
