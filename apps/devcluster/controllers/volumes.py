"""Claims of the StorageClass `devcluster` are bound to folders under the data directory."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from apps.devcluster.client import CLAIMS, PODS, STORAGE_CLASSES, VOLUMES, Client, Informers, Object, Resource
from apps.devcluster.controllers.owner import terminal
from apps.devcluster.loops import Recorder, WorkQueue

CLASS_NAME = PROVISIONER = "devcluster"
IN_USE_SECONDS = 1.0  # until a claim that waits for its pods is looked at again
DEFAULT_ANNOTATION = "storageclass.kubernetes.io/is-default-class"


class VolumeController:
    """Provisions, binds and reclaims; folders survive a restart, as volumes do."""

    def __init__(self, client: Client, informers: Informers, data_dir: Path) -> None:
        self._client, self._claims, self._volumes = client, informers[CLAIMS], informers[VOLUMES]
        self._pods, self._folder = informers[PODS], data_dir / "volumes"
        self._recorder = Recorder(client, "persistentvolume-controller")
        self.queue = WorkQueue(self.reconcile)
        self._claims.subscribe(lambda kind, obj: self.queue.add(obj["metadata"]["namespace"], obj["metadata"]["name"]))
        self._volumes.subscribe(lambda kind, obj: self.queue.add("", obj["metadata"]["name"]))

    async def make_default_class(self) -> None:
        """The default StorageClass, so that a plain claim is enough."""
        body = {
            "metadata": {"name": CLASS_NAME, "annotations": {DEFAULT_ANNOTATION: "true"}},
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
        }
        await self._client.ensure(STORAGE_CLASSES, None, body)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One claim, or with an empty namespace one volume."""
        if not namespace:
            await self._reclaim(name)
            return None
        claim = self._claims.get(namespace, name)
        if claim is None:
            for volume in list(self._volumes.items.values()):
                self.queue.add("", volume["metadata"]["name"])
        elif claim["metadata"].get("deletionTimestamp"):
            if any(_uses(pod, name) for pod in self._pods.of_namespace(namespace)):
                return IN_USE_SECONDS
            await self._unprotect(CLAIMS, claim)
        elif (claim.get("status") or {}).get("phase") != "Bound":
            await self._bind(claim)
        return None

    async def _unprotect(self, resource: Resource, obj: Object) -> None:
        """Take our finalizer, so that the object may go."""
        meta = obj["metadata"]
        left = [item for item in meta.get("finalizers") or [] if not item.endswith("-protection")]
        body = {"metadata": {"uid": meta["uid"], "finalizers": left or None}}
        await self._client.patch(resource, meta.get("namespace"), meta["name"], body)

    async def _bind(self, claim: Object) -> None:
        meta, spec = claim["metadata"], claim["spec"]
        name = spec.get("volumeName") or f"pvc-{meta['uid']}"
        if not spec.get("volumeName"):
            if spec.get("storageClassName", CLASS_NAME) != CLASS_NAME:
                return
            await self._provision(claim, name)
            await self._client.patch(CLAIMS, meta["namespace"], meta["name"], _binding(name))
        volume = self._volumes.get("", name) or await self._client.get(VOLUMES, None, name)
        status = {"phase": "Bound", "accessModes": spec["accessModes"], "capacity": volume["spec"]["capacity"]}
        await self._client.patch(CLAIMS, meta["namespace"], meta["name"], {"status": status}, "status")
        await self._client.patch(VOLUMES, None, name, {"status": {"phase": "Bound"}}, "status")
        text = f"Successfully provisioned volume {name}"
        self._recorder.tell(claim, "ProvisioningSucceeded", text, kind="PersistentVolumeClaim")

    async def _provision(self, claim: Object, name: str) -> None:
        meta, spec = claim["metadata"], claim["spec"]
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        reference = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": meta["namespace"]}
        body = {
            "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
            "spec": {
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "accessModes": spec["accessModes"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": CLASS_NAME,
                "volumeMode": spec.get("volumeMode", "Filesystem"),
                "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"},
                "claimRef": reference | {"name": meta["name"], "uid": meta["uid"]},
            },
        }
        await self._client.ensure(VOLUMES, None, body)

    async def _reclaim(self, name: str) -> None:
        volume = self._volumes.get("", name)
        reference = volume["spec"].get("claimRef") if volume else None
        if volume is None or reference is None or not self._claims.synced.is_set():
            return
        claim = self._claims.get(reference["namespace"], reference["name"])
        if claim is not None and claim["metadata"]["uid"] == reference["uid"]:
            return
        if volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
            await self._client.patch(VOLUMES, None, name, {"status": {"phase": "Released"}}, "status")
            return
        await self._unprotect(VOLUMES, volume)
        await self._client.delete(VOLUMES, None, name)
        if (volume["metadata"].get("annotations") or {}).get("pv.kubernetes.io/provisioned-by") == PROVISIONER:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, lambda: shutil.rmtree(self._folder / name, ignore_errors=True))


def _uses(pod: Object, claim: str) -> bool:
    """Whether a pod that has not ended mounts the claim."""
    volumes = pod["spec"].get("volumes") or ()
    return not terminal(pod) and any((v.get("persistentVolumeClaim") or {}).get("claimName") == claim for v in volumes)


def _binding(name: str) -> Object:
    annotations = {"pv.kubernetes.io/bind-completed": "yes", "volume.kubernetes.io/storage-provisioner": PROVISIONER}
    return {"metadata": {"annotations": annotations}, "spec": {"volumeName": name}}
