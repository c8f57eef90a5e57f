"""Runs one container again and again as its restart policy says."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import TYPE_CHECKING

from apps.devcluster.kubelet.container import ContainerRun, Exit
from apps.devcluster.kubelet.env import ConfigError
from apps.devcluster.kubelet.logs import last_bytes
from apps.devcluster.kubelet.probes import Prober, run_hook
from apps.devcluster.kubelet.process import StartError
from apps.devcluster.kubelet.runner import NO_COMMAND, RUNTIME_PREFIX, ImageError, Runner, memory_limit
from apps.devcluster.kubelet.status import Slot
from apps.devcluster.kubelet.volumes import MountError
from apps.devcluster.loops import rfc3339

if TYPE_CHECKING:
    from apps.devcluster.kubelet.pod import PodWorker

# The kubelet's: the first restart comes at once, then 10 s doubling to 5 min, forgotten after 10 min of
# running.
BACK_OFF_SECONDS = (10.0, 300.0)
FORGET_SECONDS = 600.0
CONFIG_RETRY_SECONDS = 2.0
TERMINATION_MESSAGE_BYTES = 4096
EPOCH = "1970-01-01T00:00:00Z"


class Supervisor:
    """One container over all its runs."""

    def __init__(self, worker: PodWorker, slot: Slot, runner: Runner) -> None:
        self._worker, self.slot, self._runner = worker, slot, runner
        self.run_now: ContainerRun | None = None
        self.up = asyncio.Event()
        self._halt = asyncio.Event()
        self._crashes = 0
        self._probes: asyncio.Task[None] | None = None
        self._hooks: set[asyncio.Task[None]] = set()

    @property
    def policy(self) -> str:
        """When this container is started again."""
        pod_policy = self._worker.pod["spec"].get("restartPolicy", "Always")
        if self.slot.sidecar:
            return "Always"
        if self.slot.init:
            return "Never" if pod_policy == "Never" else "OnFailure"
        return pod_policy

    async def run(self) -> None:
        """Until it has ended for good."""
        slot = self.slot
        while True:
            if not slot.ended:
                if not await self._start():
                    return
                if self.run_now is not None:
                    await self._finish(await self.run_now.wait())
            ended = slot.ended
            if ended is None or self._stopped or not self._again(ended["exitCode"]):
                return
            await self._back_off()
            if self._stopped:
                slot.state = {"terminated": slot.last_state["terminated"]} if "waiting" in slot.state else slot.state
                return
            slot.last_state, slot.state = {"terminated": ended}, {"waiting": {"reason": "ContainerCreating"}}
            slot.restarts += 1

    @property
    def _stopped(self) -> bool:
        return self._halt.is_set() or self._worker.stopping.is_set()

    def _again(self, code: int) -> bool:
        return self.policy == "Always" or (self.policy == "OnFailure" and code != 0)

    async def _back_off(self) -> None:
        self._crashes += 1
        if self._crashes == 1:
            return
        slot, meta = self.slot, self._worker.pod["metadata"]
        delay = min(BACK_OFF_SECONDS[1], BACK_OFF_SECONDS[0] * 2 ** (self._crashes - 2))
        where = f"{meta['name']}_{meta['namespace']}({meta['uid']})"
        text = f"back-off {_go_duration(delay)} restarting failed container={slot.name} pod={where}"
        slot.last_state = {"terminated": slot.ended}
        slot.state = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
        words = f"Back-off restarting failed container {slot.name} in pod {where}"
        self._worker.tell("BackOff", words, slot=slot, warning=True)
        await self._worker.publish()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._worker.stopping.wait(), delay)

    # -- start

    async def _start(self) -> bool:
        """Start once; waits where image or configuration are missing. False where the pod stops meanwhile."""
        slot, worker, pull_delay = self.slot, self._worker, BACK_OFF_SECONDS[0]
        while not self._stopped:
            try:
                run = await self._runner.prepare(slot)
            except ImageError as error:
                await self._wait_for_image(error, pull_delay)
                pull_delay = min(pull_delay * 2, BACK_OFF_SECONDS[1])
                continue
            except (ConfigError, MountError) as error:
                self._pulled()
                worker.tell("Failed", f"Error: {error}", slot=slot, warning=True)
                slot.state = {"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}}
                await worker.publish()
                await worker.pause(CONFIG_RETRY_SECONDS)
                continue
            await self._launch(run)
            return True
        return False

    def _pulled(self) -> None:
        image = f'Container image "{self.slot.spec["image"]}"'
        text = f"{image} already present on machine and can be accessed by the pod"
        self._worker.tell("Pulled", text, slot=self.slot)

    async def _wait_for_image(self, error: ImageError, delay: float) -> None:
        slot, worker, image = self.slot, self._worker, self.slot.spec["image"]
        if error.reason == "ErrImagePull":
            worker.tell("Pulling", f'Pulling image "{image}"', slot=slot)
            worker.tell("Failed", f'Failed to pull image "{image}": {error.message}', slot=slot, warning=True)
        else:
            worker.tell(error.event, error.message, slot=slot, warning=True)
        worker.tell("Failed", f"Error: {error.reason}", slot=slot, warning=True)
        slot.state = {"waiting": {"reason": error.reason, "message": error.message}}
        await worker.publish()
        if error.reason == "ErrImagePull":
            await worker.pause(1)
            text = f'Back-off pulling image "{image}"'
            worker.tell("BackOff", text, slot=slot)
            worker.tell("Failed", "Error: ImagePullBackOff", slot=slot, warning=True)
            message = f"{text}: ErrImagePull: {error.message}"
            slot.state = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
            await worker.publish()
        await worker.pause(delay)

    async def _launch(self, run: ContainerRun) -> None:
        slot, worker = self.slot, self._worker
        self._pulled()
        worker.tell("Created", "Container created", slot=slot)
        container_id = f"containerd://{secrets.token_hex(32)}"
        try:
            if not slot.spec.get("command"):
                run.discard()
                raise StartError(NO_COMMAND)
            await run.start()
        except StartError as error:
            slot.container_id = container_id
            self._failed_to_start(str(error))
            await worker.publish()
            return
        self.run_now, slot.container_id = run, container_id
        worker.tell("Started", "Container started", slot=slot)
        limit = memory_limit(slot.spec)
        enforced = worker.context.cgroups.enforces("memory")
        worker.context.usage.add(worker.uid, slot.name, run, limit, enforced=enforced)
        slot.state = {"running": {"startedAt": rfc3339(run.started_at)}}
        slot.started = not slot.spec.get("startupProbe")
        slot.ready = slot.started and not slot.spec.get("readinessProbe") and (not slot.init or slot.sidecar)
        if any(slot.spec.get(f"{kind}Probe") for kind in ("startup", "readiness", "liveness")):
            prober = Prober(slot.spec, worker.pod_ip, run.execute, self)
            self._probes = asyncio.create_task(prober.run())
        if slot.started:
            self.up.set()
        await self._hook("postStart", run, None)
        if self._stopped:  # The wish to stop came while the launcher was at work.
            self.stop()
        await worker.publish()

    def _failed_to_start(self, text: str) -> None:
        message = RUNTIME_PREFIX + text
        self._worker.tell("Failed", f"Error: {message}", slot=self.slot, warning=True)
        state = {"exitCode": 128, "reason": "StartError", "message": message, "startedAt": EPOCH}
        state |= {"finishedAt": rfc3339(time.time()), "containerID": self.slot.container_id}
        self.run_now, self.slot.state = None, {"terminated": state}

    # -- while it runs

    async def on_ready(self, ready: bool) -> None:
        """A readiness probe changed its mind, or the startup probe was content."""
        self.slot.ready, self.slot.started = ready, True
        self.up.set()
        await self._worker.publish()

    def on_unhealthy(self, kind: str, text: str) -> None:
        """One answer of a probe was no."""
        self._worker.tell("Unhealthy", f"{kind} probe failed: {text}", slot=self.slot, warning=True)

    async def on_failed(self, kind: str, grace: float | None) -> None:
        """A startup or liveness probe has given up: the container is restarted."""
        text = f"Container {self.slot.name} failed {kind.lower()} probe, will be restarted"
        self._worker.tell("Killing", text, slot=self.slot)
        if grace is None:
            grace = self._worker.pod["spec"].get("terminationGracePeriodSeconds", 30)
        if self.run_now:
            await self._hook("preStop", self.run_now, grace)
            self.run_now.terminate()
            await asyncio.sleep(grace)
            self.kill()

    def stop(self) -> None:
        """Hook, then SIGTERM; the pod keeps the time and kills when it is up."""
        self._halt.set()
        if self.run_now is None or not self.run_now.running:
            return
        self._worker.tell("Killing", f"Stopping container {self.slot.name}", slot=self.slot)
        task = asyncio.create_task(self._stop(self.run_now))
        self._hooks.add(task)
        task.add_done_callback(self._hooks.discard)

    async def _stop(self, run: ContainerRun) -> None:
        grace = self._worker.pod["spec"].get("terminationGracePeriodSeconds", 30)
        await self._hook("preStop", run, grace)
        run.terminate()

    async def _hook(self, kind: str, run: ContainerRun, seconds: float | None) -> None:
        """Run a lifecycle hook; one that fails is told, and after `postStart` ends its container."""
        hook = (self.slot.spec.get("lifecycle") or {}).get(kind)
        if not hook:
            return
        text = await run_hook(hook, self.slot.spec, self._worker.pod_ip, run.execute, seconds)
        if not text:
            return
        name = kind[0].upper() + kind[1:]
        self._worker.tell(f"Failed{name}Hook", f"{name}Hook failed: {text}", slot=self.slot, warning=True)
        if kind == "postStart":
            run.kill()

    def kill(self) -> None:
        """SIGKILL at once."""
        if self.run_now:
            self.run_now.kill()

    # -- end

    async def _finish(self, ending: Exit) -> None:
        slot, worker, run = self.slot, self._worker, self.run_now
        assert run is not None  # noqa: S101
        worker.context.usage.remove(worker.uid, slot.name)
        if self._probes:
            self._probes.cancel()
        if ending.finished_at - run.started_at > FORGET_SECONDS:
            self._crashes = 0
        reason = "OOMKilled" if ending.oom_killed else "Error" if ending.code else "Completed"
        state = {"exitCode": ending.code, "reason": reason, "startedAt": rfc3339(run.started_at)}
        state |= {"finishedAt": rfc3339(ending.finished_at), "containerID": slot.container_id}
        if message := self._termination_message(ending.code):
            state["message"] = message
        slot.state, slot.started = {"terminated": state}, False
        slot.ready = slot.init and not slot.sidecar and ending.code == 0
        self.run_now = None
        if not worker.stopping.is_set():  # Of a pod that is being stopped, only the last status tells of the end.
            await worker.publish()

    def _termination_message(self, code: int) -> str:
        path = self._runner.termination_path(self.slot)
        text = path.read_bytes()[-TERMINATION_MESSAGE_BYTES:].decode(errors="replace") if path.exists() else ""
        if not text and code and self.slot.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            text = last_bytes(self._runner.log_path(self.slot, self.slot.restarts))
        return text


def _go_duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
