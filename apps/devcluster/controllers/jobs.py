"""The Job controller: carries out plans, one Job at a time."""

from __future__ import annotations

import time

from apps.devcluster.client import JOBS, PODS, ApiError, Object, controller_of
from apps.devcluster.controllers.job_plan import finished, plan, set_count
from apps.devcluster.controllers.job_pods import FINALIZER, new_pod, tracked
from apps.devcluster.controllers.owner import RETRY_SECONDS, Owner, leaving
from apps.devcluster.loops import seconds_of

OUR_NAME = "kubernetes.io/job-controller"  # What `managedBy` says when it is us.
ORPHAN = "\0"  # Marks the key of a pod whose Job is gone; no object's name begins with it.


class JobController(Owner):
    """Jobs and their pods."""

    parent, child, component = JOBS, PODS, "job-controller"

    def on_parent(self, kind: str, obj: Object) -> None:
        """The pods that a Job leaves behind are looked at one by one."""
        super().on_parent(kind, obj)
        for pod in self.children.owned_by(obj["metadata"]["uid"]) if kind == "DELETED" else ():
            self.on_child("MODIFIED", pod)

    def on_child(self, kind: str, child: Object) -> None:
        """A pod that lost its Job is told apart, since its finalizer would hold it for ever."""
        owner, namespace = controller_of(child), child["metadata"]["namespace"]
        if owner.get("kind") == JOBS.kind:
            self.queue.add(namespace, owner["name"])
        if kind != "DELETED" and tracked(child) and not self._job_of(child):
            self.queue.add(namespace, ORPHAN + child["metadata"]["name"])

    def _job_of(self, pod: Object) -> Object | None:
        owner = controller_of(pod)
        job = self.parents.get(pod["metadata"]["namespace"], owner.get("name", ""))
        return job if job and job["metadata"]["uid"] == owner.get("uid") else None

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One look at one Job, or at a pod without one."""
        if name.startswith(ORPHAN):
            pod = self.children.get(namespace, name.removeprefix(ORPHAN))
            if pod and self.parents.synced.is_set() and not self._job_of(pod):
                await self._untrack([pod])
            return None
        job = self.parents.get(namespace, name)
        if job is None or job["spec"].get("managedBy", OUR_NAME) != OUR_NAME:
            return None
        pods = self.children.owned_by(job["metadata"]["uid"])
        if over := finished(job):
            await self._untrack(pods)
            return await self._expire(job, over)
        return await self._carry_out(job, pods)

    async def _carry_out(self, job: Object, pods: list[Object]) -> float | None:
        todo = plan(job, pods, time.time())
        before = job.get("status") or {}
        for pod in todo.delete:
            if todo.release_deleted:
                await self._untrack([pod])
            await self.delete_pod(job, pod)
        made = [await self.create_pod(job, new_pod(job, index, failures)) for index, failures in todo.create]
        refused = len(made) - made.count(None)
        for status in filter(None, (todo.interim, todo.status)):
            set_count(status, "active", status.get("active", 0) - refused)
        news = (todo.interim or {}).get("uncountedTerminatedPods"), (todo.interim or {}).get("conditions")
        if todo.interim and news != (before.get("uncountedTerminatedPods") or {}, before.get("conditions")):
            job = await self.set_status(job, todo.interim)
        await self._untrack(todo.untrack)
        job = await self.set_status(job, todo.status)
        for reason, message, warning in todo.events:
            self.tell(job, reason, message, warning=warning)
        if over := finished(job):
            return await self._expire(job, over)
        return todo.look_again if not refused else min(RETRY_SECONDS, todo.look_again or RETRY_SECONDS)

    async def _untrack(self, pods: list[Object]) -> None:
        for pod in filter(tracked, pods):
            meta = pod["metadata"]
            left = [item for item in meta["finalizers"] if item != FINALIZER]
            try:
                body = {"metadata": {"uid": meta["uid"], "finalizers": left or None}}
                await self.client.patch(PODS, meta["namespace"], meta["name"], body)
            except ApiError as error:
                if not error.missing and not error.conflict:  # Gone, or another pod of that name by now.
                    raise

    async def _expire(self, job: Object, over: Object) -> float | None:
        """Delete a finished Job when its time is up (ttlSecondsAfterFinished)."""
        seconds, meta = job["spec"].get("ttlSecondsAfterFinished"), job["metadata"]
        if seconds is None or leaving(job):
            return None
        left = seconds_of(over["lastTransitionTime"]) + seconds - time.time()
        if left > 0:
            return left
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": meta["uid"]}}
        await self.client.delete(JOBS, meta["namespace"], meta["name"], options)
        return None
