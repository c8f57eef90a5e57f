"""What isolation this host allows, and the spec that `launch.py` turns into a container.

Isolated: private mount, PID, UTS and IPC namespaces; volumes at their real paths; own /tmp; the data folder
hidden. Mapped (macOS, or a Linux without privileges): no namespaces, so mount paths inside command, args,
env and working directory are replaced by the folders that hold the volumes, and peers' names by 127.0.0.1.
"""

from __future__ import annotations

import marshal
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

LAUNCHER = str(Path(__file__).with_name("launch.py"))
SHARED_LOOPBACK = "127.0.0.1"
# A container's own, as in a real one; the host's may hold credentials.
HOME = os.path.expanduser("~") if os.path.expanduser("~").strip("/~") else "/root"
MAPPED_WARNING = (
    "Containers are not isolated on this host: mount paths in commands, arguments and environment are "
    "replaced by folders, and peers' names by 127.0.0.1; a pod can read other pods' volumes and this cluster's "
    "credentials. Linux as root or with user namespaces isolates."
)


@dataclass(frozen=True)
class Mount:
    """A volume (or a folder inside one) at a path of the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """Everything the launcher needs to know about one container."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    hostname: str
    tmp: str
    mounts: list[Mount] = field(default_factory=list)
    cgroups: list[str] = field(default_factory=list)
    shared_processes: bool = False
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


@dataclass(frozen=True)
class Sandbox:
    """The mode found at start-up."""

    isolated: bool
    user_namespace: bool
    data_dir: Path

    @classmethod
    def detect(cls, data_dir: Path, *, isolate: bool = True) -> Sandbox:
        """Try a real launch, as root or in a user namespace; reading capabilities would only be a guess."""
        for user_namespace in (False, True):
            box = cls(isolate, user_namespace, data_dir)
            may = os.geteuid() == 0 or user_namespace
            if isolate and sys.platform == "linux" and may and box._works():
                return box
        return cls(isolated=False, user_namespace=False, data_dir=data_dir)

    def _works(self) -> bool:
        with tempfile.TemporaryDirectory(dir=self.data_dir) as folder:
            reader, writer = os.pipe()
            probe = Mount(folder, "/devcluster-probe")
            spec = ContainerSpec(["test", "-d", probe.target], dict(os.environ), "/", "probe", folder, [probe])
            try:
                result = subprocess.run(  # noqa: S603 our own launcher
                    self.command(spec, writer),
                    pass_fds=(writer,),
                    capture_output=True,
                    timeout=10,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired):
                return False
            finally:
                os.close(reader)
                os.close(writer)
            return result.returncode == 0

    @property
    def warning(self) -> str | None:
        """What a user of this node should know; none where containers are isolated."""
        return None if self.isolated else MAPPED_WARNING

    def command(self, spec: ContainerSpec, status_fd: int, enter: int = 0) -> list[str]:
        """Write the launch spec and return the command line that runs it (`enter`: inside that process's
        container).
        """
        run = self.data_dir / "run"
        (run / "root").mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {
            "argv": spec.argv,
            "env": spec.env,
            "cwd": spec.cwd,
            "hostname": spec.hostname,
            "tmp": spec.tmp,
            "mounts": [vars(mount) for mount in self._visible_interpreter() + spec.mounts],
            "cgroups": spec.cgroups,
            "shared_processes": spec.shared_processes,
            "tty": spec.tty,
            "isolated": self.isolated,
            "user_namespace": self.user_namespace,
            "root": str(run / "root"),
            "hidden": [str(self.data_dir)],
            "status_fd": status_fd,
            "enter": enter,
        }
        descriptor, path = tempfile.mkstemp(prefix="launch-", suffix=".spec", dir=run)
        with os.fdopen(descriptor, "wb") as file:
            marshal.dump(document, file)
        return [sys.executable, "-I", "-S", LAUNCHER, path]

    @staticmethod
    def _visible_interpreter() -> list[Mount]:
        """An interpreter under /tmp or the home folder would vanish behind the container's own."""
        given = (sys.prefix, sys.base_prefix)
        prefixes = {*given, *map(os.path.realpath, given)}
        covered = ("/tmp/", HOME + "/")  # noqa: S108
        return [Mount(os.path.realpath(path), path, True) for path in sorted(prefixes) if path.startswith(covered)]

    def adapt(self, spec: ContainerSpec, peers: dict[str, str]) -> tuple[ContainerSpec, Callable[[str], str]]:
        """In mapped mode, rewrite paths and peers' names; otherwise the spec as it is. Also how to rewrite."""
        if self.isolated:
            return spec, str
        swap = Rewriter(spec.mounts, peers)
        env = {name: value if name == "PATH" else swap(value) for name, value in spec.env.items()}
        argv = [swap(text) for text in spec.argv]
        return replace(spec, argv=argv, env=env, cwd=swap(spec.cwd), mounts=[]), swap


class Rewriter:
    """Replaces mount paths and peers' names in a text, the longest first and only as whole words."""

    def __init__(self, mounts: list[Mount], peers: dict[str, str]) -> None:
        paths = {mount.target.rstrip("/"): mount.source for mount in mounts if mount.target != "/"}
        self._pairs = paths | peers
        # A name may follow a slash (http://NAME), the beginning of a path may not.
        kinds = ((r"[\w.\-/]", paths), (r"[\w.\-]", peers))
        choices = [rf"(?<!{before})(?:{_any_of(keys)})" for before, keys in kinds if keys]
        self._pattern = re.compile(rf"(?:{'|'.join(choices)})(?![\w.\-])") if choices else None

    def __call__(self, text: str) -> str:
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._pairs[match[0]], text)


def _any_of(keys: Iterable[str]) -> str:
    return "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True))
