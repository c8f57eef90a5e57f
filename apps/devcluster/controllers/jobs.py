"""The Job controller: carries out plans, one Job at a time."""

from __future__ import annotations

import time

from apps.devcluster.client import JOBS, PODS, ApiError, Client, Informers, Object
from apps.devcluster.controllers import job_pods as pods_of
from apps.devcluster.controllers.job_plan import finished, plan, set_count
from apps.devcluster.loops import Recorder, WorkQueue, seconds_of

OUR_NAME = "kubernetes.io/job-controller"  # What `managedBy` says when it is us.
# How long a created pod may take to appear in the local copy before it is taken for lost.
PATIENCE_SECONDS = 5.0
REFUSED_SECONDS = 5.0  # until a pod that was refused is tried again: nobody tells when a quota has room


class JobController:
    """Jobs, from their informer and that of the pods."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client, self._jobs, self._pods = client, informers[JOBS], informers[PODS]
        self._recorder = Recorder(client, "job-controller")
        self.queue = WorkQueue(self.reconcile, workers=8)
        self._of_job: dict[str, dict[str, Object]] = {}
        self._expected: dict[str, tuple[set[str], float]] = {}
        self._untracked: dict[str, set[str]] = {}
        self._latest: dict[str, Object] = {}
        self._jobs.subscribe(self._on_job)
        self._pods.subscribe(self._on_pod)

    def _on_job(self, kind: str, job: Object) -> None:
        uid = job["metadata"]["uid"]
        if kind == "DELETED":
            for known in (self._expected, self._untracked, self._latest):
                known.pop(uid, None)
            for pod in list(self._of_job.get(uid, {}).values()):
                if pods_of.tracked(pod):  # An orphan's finalizer would hold it for ever.
                    self.queue.add(pod["metadata"]["namespace"], f"\0{pod['metadata']['name']}")
        self.queue.add(job["metadata"]["namespace"], job["metadata"]["name"])

    def _on_pod(self, kind: str, pod: Object) -> None:
        owner = next((ref for ref in pod["metadata"].get("ownerReferences") or [] if ref.get("controller")), None)
        if owner is None or owner["kind"] != "Job":
            self._adopted_elsewhere(pod)
            return
        mine, uid = self._of_job.setdefault(owner["uid"], {}), pod["metadata"]["uid"]
        if kind == "DELETED":
            mine.pop(uid, None)
            self._untracked.get(owner["uid"], set()).discard(uid)
            if not mine:
                self._of_job.pop(owner["uid"], None)
        else:
            mine[uid] = pod
            if owner["uid"] in self._expected:
                self._expected[owner["uid"]][0].discard(uid)
        self.queue.add(pod["metadata"]["namespace"], owner["name"])
        if kind != "DELETED" and self._jobs.get(pod["metadata"]["namespace"], owner["name"]) is None:
            self.queue.add(pod["metadata"]["namespace"], f"\0{pod['metadata']['name']}")

    def _adopted_elsewhere(self, pod: Object) -> None:
        """A pod that lost its owner (orphaned) is no longer ours to count."""
        for mine in self._of_job.values():
            mine.pop(pod["metadata"]["uid"], None)
        if pods_of.tracked(pod):
            self.queue.add(pod["metadata"]["namespace"], f"\0{pod['metadata']['name']}")

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One look at one Job (or, marked with NUL, at a pod without one)."""
        if name.startswith("\0"):
            return await self._release_orphan(namespace, name[1:])
        job = self._current(namespace, name)
        if job is None or job["spec"].get("managedBy", OUR_NAME) != OUR_NAME:
            return None
        uid = job["metadata"]["uid"]
        pods = [self._as_known(uid, pod) for pod in self._of_job.get(uid, {}).values()]
        if over := finished(job):
            await self._untrack(job, [pod for pod in pods if pods_of.tracked(pod)])
            return await self._expire(job, over)
        if (wait := self._missing(uid)) is not None:
            return wait
        return await self._carry_out(job, pods)

    def _current(self, namespace: str, name: str) -> Object | None:
        """The Job as we wrote it last, where the local copy lags behind."""
        job = self._jobs.get(namespace, name)
        if job is None:
            return None
        ours = self._latest.get(job["metadata"]["uid"])
        if ours and int(ours["metadata"]["resourceVersion"]) > int(job["metadata"]["resourceVersion"]):
            return ours
        return job

    def _as_known(self, uid: str, pod: Object) -> Object:
        """The pod without the finalizer we have already taken."""
        if pod["metadata"]["uid"] not in self._untracked.get(uid, set()) or not pods_of.tracked(pod):
            return pod
        left = [item for item in pod["metadata"]["finalizers"] if item != pods_of.FINALIZER]
        return {**pod, "metadata": {**pod["metadata"], "finalizers": left}}

    def _missing(self, uid: str) -> float | None:
        expected, since = self._expected.get(uid, (set(), 0.0))
        left = since + PATIENCE_SECONDS - time.monotonic()
        return left if expected and left > 0 else None

    async def _carry_out(self, job: Object, pods: list[Object]) -> float | None:
        todo = plan(job, pods, time.time())
        before = job.get("status") or {}
        for pod in todo.delete:
            if todo.release_deleted:
                await self._untrack(job, [pod])
            await self._delete_pod(job, pod)
        refused = [await self._create_pod(job, index, failures) for index, failures in todo.create].count(False)
        for status in filter(None, (todo.interim, todo.status)):
            set_count(status, "active", status.get("active", 0) - refused)
        news = (todo.interim or {}).get("uncountedTerminatedPods"), (todo.interim or {}).get("conditions")
        if todo.interim and news != (before.get("uncountedTerminatedPods") or {}, before.get("conditions")):
            job = await self._write(job, todo.interim)
        await self._untrack(job, todo.untrack)
        if todo.status != (job.get("status") or {}):
            job = await self._write(job, todo.status)
        for reason, message, warning in todo.events:
            self._recorder.tell(job, reason, message, kind="Job", warning=warning)
        if over := finished(job):
            return await self._expire(job, over)
        return todo.look_again if not refused else min(REFUSED_SECONDS, todo.look_again or REFUSED_SECONDS)

    async def _write(self, job: Object, status: Object) -> Object:
        written = await self._client.replace(JOBS, {**job, "status": status}, "status")
        self._latest[job["metadata"]["uid"]] = written
        return written

    async def _create_pod(self, job: Object, index: int | None, failures: int) -> bool:
        """False where the API refuses the pod (a quota, most often): the Job waits and says so."""
        namespace = job["metadata"]["namespace"]
        try:
            pod = await self._client.create(PODS, namespace, pods_of.new_pod(job, index, failures))
        except ApiError as error:
            self._recorder.tell(job, "FailedCreate", f"Error creating: {error.message}", kind="Job", warning=True)
            return False
        uid = job["metadata"]["uid"]
        if pod["metadata"]["uid"] not in self._of_job.get(uid, {}):
            expected, _ = self._expected.get(uid, (set(), 0.0))
            self._expected[uid] = ({*expected, pod["metadata"]["uid"]}, time.monotonic())
        self._recorder.tell(job, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}", kind="Job")
        return True

    async def _delete_pod(self, job: Object, pod: Object) -> None:
        meta = pod["metadata"]
        options = {"preconditions": {"uid": meta["uid"]}, "propagationPolicy": "Background"}
        await self._client.delete(PODS, meta["namespace"], meta["name"], options)
        self._recorder.tell(job, "SuccessfulDelete", f"Deleted pod: {meta['name']}", kind="Job")

    async def _untrack(self, job: Object, pods: list[Object]) -> None:
        for pod in pods:
            if pods_of.tracked(pod):
                await self._take_finalizer(pod)
                self._untracked.setdefault(job["metadata"]["uid"], set()).add(pod["metadata"]["uid"])

    async def _take_finalizer(self, pod: Object) -> None:
        meta = pod["metadata"]
        left = [item for item in meta.get("finalizers") or [] if item != pods_of.FINALIZER]
        try:
            body = {"metadata": {"uid": meta["uid"], "finalizers": left or None}}
            await self._client.patch(PODS, meta["namespace"], meta["name"], body)
        except ApiError as error:
            if not error.missing and not error.conflict:  # Gone, or another pod of that name by now.
                raise

    async def _release_orphan(self, namespace: str, name: str) -> None:
        pod = self._pods.get(namespace, name)
        if pod is not None and pods_of.tracked(pod):
            owner = next((ref for ref in pod["metadata"].get("ownerReferences") or [] if ref.get("controller")), None)
            job = self._jobs.get(namespace, owner["name"]) if owner else None
            if job is None or (owner and job["metadata"]["uid"] != owner["uid"]):
                await self._take_finalizer(pod)

    async def _expire(self, job: Object, over: Object) -> float | None:
        """Delete a finished Job when its time is up (ttlSecondsAfterFinished)."""
        seconds, meta = job["spec"].get("ttlSecondsAfterFinished"), job["metadata"]
        if seconds is None or meta.get("deletionTimestamp"):
            return None
        left = seconds_of(over["lastTransitionTime"]) + seconds - time.time()
        if left > 0:
            return left
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": meta["uid"]}}
        await self._client.delete(JOBS, meta["namespace"], meta["name"], options)
        return None
