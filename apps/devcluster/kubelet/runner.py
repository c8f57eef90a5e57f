"""Starts one container of a pod: image, environment, mounts, limits, log."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from apps.devcluster.client import Object
from apps.devcluster.kubelet import env as environment
from apps.devcluster.kubelet import hosts
from apps.devcluster.kubelet.container import ContainerRun
from apps.devcluster.kubelet.context import NodeContext
from apps.devcluster.kubelet.fields import PodFacts
from apps.devcluster.kubelet.logs import LogFile, drop_logs
from apps.devcluster.kubelet.sandbox import HOME, SHARED_LOOPBACK, ContainerSpec, Mount
from apps.devcluster.kubelet.status import Slot
from apps.devcluster.kubelet.volumes import PodVolumes
from apps.devcluster.quantities import parse

TERMINATION_LOG = "/dev/termination-log"
NO_COMMAND = "images are only names on this host, so the container needs a command"
RUNTIME_PREFIX = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: "
)
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")


class ImageError(Exception):
    """An image that cannot be had; `reason` is the waiting reason."""

    def __init__(self, reason: str, message: str, event: str = "Failed") -> None:
        super().__init__(message)
        self.reason, self.message, self.event = reason, message, event


def check_image(image: str, policy: str, denied: tuple[str, ...]) -> None:
    """Images are names only: every well-formed one is present unless it is on the deny list."""
    bare = image.split("@")[0]
    head, _, last = bare.rpartition("/")
    parts = [*head.split("/"), last.split(":")[0]] if head else [last.split(":")[0]]
    names = parts[1:] if len(parts) > 1 and re.search(r"[.:]|^localhost$", parts[0]) else parts
    if not all(_REPOSITORY.fullmatch(part) for part in names):
        failed = f'Failed to apply default image tag "{image}"'
        text = f'{failed}: couldn\'t parse image name "{image}": invalid reference'
        lower = [part for part in names if part.lower() != part]
        cause = f" format: repository name ({'/'.join(names[-1:])}) must be lowercase" if lower else " format"
        raise ImageError("InvalidImageName", text + cause, "InspectFailed")
    if any(fnmatch(image, pattern) for pattern in denied):
        if policy == "Never":
            text = f'Container image "{image}" is not present with pull policy of Never'
            raise ImageError("ErrImageNeverPull", text, "ErrImageNeverPull")
        raise ImageError("ErrImagePull", f'image "{image}" is on this node\'s list of images it does not have')


@dataclass
class Runner:
    """Turns container specs of one pod into running containers."""

    context: NodeContext
    facts: PodFacts
    volumes: PodVolumes
    folder: Path

    def log_path(self, slot: Slot, number: int) -> Path:
        """The log of the container's run number `number`."""
        return self.folder / slot.name / f"{number}.log"

    def termination_path(self, slot: Slot) -> Path:
        """The file behind the container's termination message path."""
        return self.folder / slot.name / "termination-log"

    async def prepare(self, slot: Slot) -> ContainerRun:
        """Everything up to the launch; `ConfigError` or `ImageError` where that is not possible."""
        context, pod, container = self.context, self.facts.pod, slot.spec
        namespace = pod["metadata"]["namespace"]
        check_image(container["image"], container.get("imagePullPolicy", ""), context.denied_images)
        source = environment.Source(context.client, namespace)
        links: dict[str, str] = {"PATH": f"{context.programs}:{environment.PATH}"} if context.programs else {}
        if pod["spec"].get("enableServiceLinks", True):
            services = context.services.of_namespace(namespace)
            links |= environment.service_env(services, context.api_host, context.api_port)
        hostname = hosts.hostname(pod)
        env = await environment.build_env(self.facts, container, source, links, hostname)
        if container.get("tty"):
            env.setdefault("TERM", "xterm")
        argv = [environment.expand(text, env) for text in container.get("command") or []]
        argv += [environment.expand(text, env) for text in container.get("args") or []]
        mounts = [*self.volumes.mounts(container, env), *self._own_mounts(slot)]
        name = f"{pod['metadata']['uid']}-{slot.name}"
        groups = context.cgroups.limited(name, memory_limit(container), cpu_limit(container))
        spec = ContainerSpec(
            argv=argv if container.get("command") else [],
            env=env,
            cwd=container.get("workingDir") or "/",
            hostname=hostname,
            tmp=str(self._tmp(slot)),
            mounts=mounts,
            cgroups=[group.procs for group in groups],
            shared_processes=bool(pod["spec"].get("shareProcessNamespace")),
            stdin=bool(container.get("stdin")),
            stdin_once=bool(container.get("stdinOnce")),
            tty=bool(container.get("tty")),
        )
        own_addresses = sys.platform == "linux"  # Elsewhere nothing but 127.0.0.1 can be listened on.
        services = [s["spec"].get("clusterIP") for s in context.services.items.values()] if own_addresses else []
        peers = {
            name: address if address in services else SHARED_LOOPBACK
            for address, names in self._peers()
            for name in names
        }
        adapted, swap = context.sandbox.adapt(spec, peers)
        drop_logs(self.folder / slot.name, before=slot.restarts - 1)
        log = LogFile(self.log_path(slot, slot.restarts))
        return ContainerRun(context.sandbox, adapted, log, context.pid_dir, groups, swap)

    def _own_mounts(self, slot: Slot) -> list[Mount]:
        message = self.termination_path(slot)
        message.parent.mkdir(parents=True, exist_ok=True)
        message.write_bytes(b"")
        target = slot.spec.get("terminationMessagePath") or TERMINATION_LOG
        own = [Mount(str(message), target), Mount(str(self.folder / "hosts"), "/etc/hosts")]
        if self.context.sandbox.isolated:
            home = message.with_name("home")
            home.mkdir(exist_ok=True)
            own.insert(0, Mount(str(home), HOME))
        if programs := self.context.programs:
            own.append(Mount(programs, programs, True))
        return own

    def _tmp(self, slot: Slot) -> Path:
        path = self.folder / slot.name / "tmp"
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o1777)
        return path

    def write_hosts(self) -> None:
        """Bring the pod's hosts file up to date with the services."""
        hosts.write(self.folder / "hosts", self.facts.pod, self.facts.pod_ip, self._peers())

    def _peers(self) -> list[tuple[str, list[str]]]:
        services, slices = self.context.services.items.values(), self.context.slices.items.values()
        return hosts.addresses(services, slices, self.facts.pod["metadata"]["namespace"])


def memory_limit(container: Object) -> int | None:
    """The memory limit in bytes, if there is one."""
    quantity = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    return int(parse(quantity)) if quantity else None


def cpu_limit(container: Object) -> float | None:
    """The processor limit in cores, if there is one."""
    quantity = ((container.get("resources") or {}).get("limits") or {}).get("cpu")
    return float(parse(quantity)) if quantity else None
