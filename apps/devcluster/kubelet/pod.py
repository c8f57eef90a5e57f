"""The life of one pod: from the binding to the last status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

import aiohttp

from apps.devcluster.client import PODS, ApiError, Object
from apps.devcluster.kubelet.context import HOST_IP, NodeContext
from apps.devcluster.kubelet.fields import PodFacts
from apps.devcluster.kubelet.runner import Runner
from apps.devcluster.kubelet.status import Slot, conditions, outcome
from apps.devcluster.kubelet.supervisor import Supervisor
from apps.devcluster.kubelet.volumes import MountError, PodVolumes
from apps.devcluster.loops import now, seconds_of

log = logging.getLogger(__name__)

DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"
MOUNT_RETRY_SECONDS = (0.5, 10.0)
WRITE_RETRY_SECONDS = (0.1, 0.3, 1.0, 3.0)
UNSET = {"reason": None, "message": None}


class PodWorker:
    """Drives one pod; `update` brings newer versions of the object, `run` ends when the pod has."""

    def __init__(self, context: NodeContext, pod: Object) -> None:
        self.context, self.pod = context, pod
        self.uid: str = pod["metadata"]["uid"]
        spec, status = pod["spec"], pod.get("status") or {}
        self.inits = [self._slot(c, status, init=True) for c in spec.get("initContainers") or []]
        self.mains = [self._slot(c, status, init=False) for c in spec["containers"]]
        self.stopping = asyncio.Event()
        self.finished = status.get("phase") in ("Succeeded", "Failed")
        self.pod_ip = ""
        self._sandbox = False
        self._verdict: dict[str, Any] = {}
        self._conditions: list[Object] = list(status.get("conditions") or [])
        self._start_time = status.get("startTime") or now()
        self._written: Object = {}
        self._final: Object | None = None
        self._lock = asyncio.Lock()
        self._gone = False
        self._kill_at: float | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self.runner: Runner | None = None
        self.supervisors: dict[str, Supervisor] = {}

    @property
    def node(self) -> str:
        """The name of the node it is bound to."""
        return str(self.pod["spec"]["nodeName"])

    @property
    def lost(self) -> bool:
        """Whether its node is cut off: nothing is told then, what it does stays its own."""
        return self.node in self.context.lost

    @staticmethod
    def _slot(container: Object, status: Object, *, init: bool) -> Slot:
        """A fresh slot, or after a restart of the devcluster one that knows how its container ended."""
        slot = Slot(container, init)
        entries = status.get("initContainerStatuses" if init else "containerStatuses") or []
        for entry in entries:
            if entry["name"] == slot.name and entry.get("containerID"):
                slot.restarts, slot.container_id = entry["restartCount"], entry["containerID"]
                slot.last_state = entry.get("lastState") or {}
                slot.state = entry["state"]
                if running := slot.state.get("running"):
                    died = {
                        "exitCode": 137,
                        "reason": "Error",
                        "finishedAt": now(),
                        "containerID": slot.container_id,
                    }
                    died["message"] = "The node that ran this container has stopped."
                    slot.state = {"terminated": died | {"startedAt": running.get("startedAt")}}
        if not slot.state:
            slot.state = {"waiting": {"reason": "PodInitializing" if init else "ContainerCreating"}}
        return slot

    # -- what happens to the pod from outside

    def update(self, pod: Object) -> None:
        """A newer version of the object."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self.stop(pod["metadata"].get("deletionGracePeriodSeconds") or 0)

    def stop(self, grace: float) -> None:
        """SIGTERM now, SIGKILL after the grace period; a later call may shorten but not lengthen it."""
        kill_at = time.monotonic() + grace
        if self._kill_at is None or kill_at < self._kill_at:
            self._kill_at = kill_at
            self._later(grace, self._kill_all)
        if not self.stopping.is_set():
            self.stopping.set()
            sidecars = [slot for slot in self.inits if slot.sidecar]
            mains_run = any("running" in slot.state for slot in self.mains)
            for slot in [*self.inits, *self.mains]:
                if slot.name in self.supervisors and not (mains_run and slot in sidecars):
                    self.supervisors[slot.name].stop()

    def vanish(self) -> None:
        """The object is gone, or the machine: nothing more to report, nothing to wait for."""
        self._gone = True
        self._kill_all()
        self.stop(0)

    def doubt(self) -> None:
        """Others may have written our status while we were cut off: the next `publish` does, whatever we know."""
        self._written = {}

    def _kill_all(self) -> None:
        for supervisor in self.supervisors.values():
            supervisor.kill()

    def _later(self, seconds: float, call: Any) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(max(0.0, seconds), call))

    # -- the pod's own course

    async def run(self) -> None:
        """From the binding to the end; never raises but for cancellation."""
        if not self.finished:
            try:
                await self._live_safely()
                await self._end()
            except asyncio.CancelledError:
                self._kill_all()
                raise
            finally:
                for timer in self._timers:
                    timer.cancel()
                self.context.addresses.release(self.pod_ip)
        self.finished = True
        if self.pod["metadata"].get("deletionTimestamp"):
            await self.confirm_deletion()

    async def _live_safely(self) -> None:
        """A fault of ours fails the pod visibly instead of leaving it running for ever."""
        try:
            await self._live()
        except Exception as error:
            log.exception("pod %s failed", self.pod["metadata"]["name"])
            self.stop(0)
            text = f"The devcluster could not run this pod: {error!r}"
            self._verdict = {"phase": "Failed", "reason": "DevclusterError", "message": text}

    async def _live(self) -> None:
        spec = self.pod["spec"]
        if self.inits:
            for slot in self.mains:
                slot.state = {"waiting": {"reason": "PodInitializing"}} if "waiting" in slot.state else slot.state
        await self.publish()
        if (deadline := spec.get("activeDeadlineSeconds")) is not None:
            self._later(seconds_of(self._start_time) + deadline - time.time(), self._exceed_deadline)
        if not await self._prepare():
            return
        await self.publish()
        sidecars: list[asyncio.Task[None]] = []
        for slot in self.inits:
            supervisor = self._supervise(slot)
            if slot.sidecar:
                sidecars.append(asyncio.create_task(supervisor.run()))
                await self._first(supervisor.up.wait(), sidecars[-1])
                continue
            await supervisor.run()
            if not slot.initialized:
                break
        else:
            if not self.stopping.is_set():
                await asyncio.gather(*(self._supervise(slot).run() for slot in self.mains))
        for slot in reversed(self.inits):
            if slot.sidecar and slot.name in self.supervisors:
                self.supervisors[slot.name].stop()
                if self._kill_at is None:
                    self._later(spec.get("terminationGracePeriodSeconds", 30), self.supervisors[slot.name].kill)
        await asyncio.gather(*sidecars)

    @staticmethod
    async def _first(waiter: Any, task: asyncio.Task[None]) -> None:
        waiting = asyncio.ensure_future(waiter)
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    def _supervise(self, slot: Slot) -> Supervisor:
        assert self.runner is not None  # noqa: S101
        self.supervisors[slot.name] = supervisor = Supervisor(self, slot, self.runner)
        return supervisor

    async def _prepare(self) -> bool:
        """Address, folders and volumes; retried until what volumes need is there."""
        folder = self.context.pod_folder(self.uid)
        folder.mkdir(parents=True, exist_ok=True)
        self.pod_ip = self.context.addresses.take()
        node = self.context.nodes[self.node]
        facts = PodFacts(self.pod, self.pod_ip, HOST_IP, self.node, node["status"]["allocatable"])
        volumes, delay = PodVolumes(self.context.client, facts, folder), MOUNT_RETRY_SECONDS[0]
        while not self.stopping.is_set():
            try:
                await volumes.prepare()
            except (MountError, ApiError, OSError) as error:
                self.tell("FailedMount", str(error), warning=True)
                await self.pause(delay)
                delay = min(delay * 2, MOUNT_RETRY_SECONDS[1])
                continue
            self.runner = Runner(self.context, facts, volumes, folder)
            self.runner.write_hosts()
            self._sandbox = True
            return True
        return False

    async def pause(self, seconds: float) -> None:
        """Sleep, but not past the wish to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)

    def _exceed_deadline(self) -> None:
        if self.stopping.is_set():
            return
        self._verdict = {"phase": "Failed", "reason": "DeadlineExceeded", "message": DEADLINE_MESSAGE}
        self.tell("DeadlineExceeded", DEADLINE_MESSAGE)
        self.stop(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    async def _end(self) -> None:
        """The last status: Succeeded or Failed, sandbox gone."""
        self._sandbox = False
        ended = outcome(self.inits, self.mains, "Never") or "Failed"
        if any(not slot.ended for slot in self.mains):
            ended = "Failed"
        await self.publish(final={"phase": ended} | self._verdict)

    async def confirm_deletion(self) -> None:
        """Tell the API that nothing runs any more, so that the object may go."""
        await self.publish()
        if self.lost:
            return
        meta = self.pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        with contextlib.suppress(ApiError, aiohttp.ClientError, OSError):
            await self.context.client.delete(PODS, meta["namespace"], meta["name"], options)

    # -- reporting

    def tell(self, reason: str, message: str, *, slot: Slot | None = None, warning: bool = False) -> None:
        """An Event about the pod or one of its containers."""
        part = "initContainers" if slot and slot.init else "containers"
        path = f"spec.{part}{{{slot.name}}}" if slot else None
        if not self.lost:
            told = {"warning": warning, "field_path": path, "host": self.node}
            self.context.recorder.tell(self.pod, reason, message, kind="Pod", **told)

    async def publish(self, final: Object | None = None) -> None:
        """Write the status if it changed; the order of writes is the order of calls."""
        async with self._lock:
            self._final = final or self._final
            if self.finished and self._final is None:
                return  # It ended in an earlier run, which has told everything.
            status = self._status(self._final)
            if self._gone or self.lost or status == self._written:
                return
            meta = self.pod["metadata"]
            body = {"metadata": {"uid": self.uid}, "status": UNSET | status}
            for delay in (*WRITE_RETRY_SECONDS, None):
                try:
                    await self.context.client.patch(PODS, meta["namespace"], meta["name"], body, "status")
                except (ApiError, aiohttp.ClientError, OSError) as error:
                    if isinstance(error, ApiError) and error.code in (404, 409):
                        self._gone = True
                        return
                    if delay is None:
                        log.warning("the status of %s could not be written: %s", meta["name"], error)
                        return
                    await asyncio.sleep(delay)
                    continue
                self._written = status
                return

    def _status(self, final: Object | None) -> Object:
        ended = (final or {}).get("phase") or self._verdict.get("phase")
        ended = ended or outcome(self.inits, self.mains, self.pod["spec"].get("restartPolicy", "Always"))
        latest = {c["type"]: c for c in (self.pod.get("status") or {}).get("conditions") or []}
        before = list((latest | {c["type"]: c for c in self._conditions}).values())
        self._conditions = conditions(
            self.inits, self.mains, ended=ended, sandbox=self._sandbox, before=before, pod=self.pod, at=now()
        )
        status: Object = {
            "observedGeneration": self.pod["metadata"].get("generation", 1),
            "phase": "Running" if any(slot.has_run for slot in self.mains) else "Pending",
            "conditions": self._conditions,
            "hostIP": HOST_IP,
            "hostIPs": [{"ip": HOST_IP}],
            "startTime": self._start_time,
        }
        if self.pod_ip:
            status |= {"podIP": self.pod_ip, "podIPs": [{"ip": self.pod_ip}]}
        if self.inits:
            status["initContainerStatuses"] = [slot.as_status() for slot in self.inits]
        status["containerStatuses"] = [slot.as_status() for slot in self.mains]
        return status | (final or {})
