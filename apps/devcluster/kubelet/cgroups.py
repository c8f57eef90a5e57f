"""Memory limits enforced by the kernel where this process may make cgroups (v1 or v2); elsewhere sampling
remains.

Sources: kernel docs admin-guide/cgroup-v1/memory.rst and admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

V1_MEMORY = Path("/sys/fs/cgroup/memory")
V2_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryCgroup:
    """One container's memory cgroup."""

    path: Path
    limit_file: str
    events_file: str

    def create(self, limit: int) -> None:
        """Make the cgroup with its limit."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / self.limit_file).write_text(str(limit))

    @property
    def procs(self) -> str:
        """The file a process writes itself into to join."""
        return str(self.path / "cgroup.procs")

    def oom_kills(self) -> int:
        """How often the kernel killed for memory in here."""
        with contextlib.suppress(OSError, ValueError):
            for line in (self.path / self.events_file).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def remove(self) -> None:
        """A cgroup can be removed once its last process is reaped."""
        with contextlib.suppress(OSError):
            self.path.rmdir()


class Cgroups:
    """Makes memory cgroups, or says that it cannot."""

    def __init__(self) -> None:
        self._make = self._detect()

    @property
    def available(self) -> bool:
        """Whether limits are the kernel's."""
        return self._make is not None

    def memory(self, name: str, limit: int) -> MemoryCgroup | None:
        """A cgroup with this limit, or None where that is not allowed."""
        if self._make is None:
            return None
        base, limit_file, events_file = self._make
        group = MemoryCgroup(base / f"{os.getpid()}-{name}", limit_file, events_file)
        try:
            group.create(limit)
        except OSError:
            group.remove()
            return None
        return group

    def sweep(self) -> None:
        """Remove what runs that are over left; several devclusters share the parent, so theirs are let be."""
        for path in self._make[0].iterdir() if self._make else ():
            owner = path.name.split("-")[0]
            if path.is_dir() and owner.isdigit() and not psutil.pid_exists(int(owner)):
                with contextlib.suppress(OSError):
                    path.rmdir()

    @staticmethod
    def _detect() -> tuple[Path, str, str] | None:
        candidates = [
            (V1_MEMORY / "devcluster", "memory.limit_in_bytes", "memory.oom_control"),
            (V2_ROOT / "devcluster", "memory.max", "memory.events"),
        ]
        for base, limit_file, events_file in candidates:
            parent = base.parent
            try:
                if not (parent / "cgroup.procs").exists():
                    continue
                if parent == V2_ROOT and "memory" not in (parent / "cgroup.subtree_control").read_text():
                    continue
                base.mkdir(exist_ok=True)
                if parent == V2_ROOT:
                    (base / "cgroup.subtree_control").write_text("+memory")
            except OSError:
                continue
            probe = MemoryCgroup(base / f"probe-{os.getpid()}", limit_file, events_file)
            try:
                probe.create(2**30)
            except OSError:
                continue
            finally:
                probe.remove()
            return base, limit_file, events_file
        return None
