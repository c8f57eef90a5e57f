"""A pod's volumes as folders, and where they appear in its containers."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

from apps.devcluster.client import CLAIMS, SERVICE_ACCOUNTS, VOLUMES, ApiError, Client, Object
from apps.devcluster.kubelet.env import Source, expand
from apps.devcluster.kubelet.fields import PodFacts, field, resource_of_pod
from apps.devcluster.kubelet.sandbox import Mount

Files = dict[str, bytes]
TOKEN_SECONDS = 24 * 3600


class MountError(Exception):
    """A volume cannot be set up (yet); the text is that of the FailedMount event."""


class PodVolumes:
    """Prepares the volumes of one pod under its own folder."""

    def __init__(self, client: Client, facts: PodFacts, folder: Path) -> None:
        self._client, self._facts, self._folder = client, facts, folder
        self._namespace = facts.pod["metadata"]["namespace"]
        self._source = Source(client, self._namespace)
        self.paths: dict[str, Path] = {}

    async def prepare(self) -> None:
        """Set up every volume; `MountError` where something it needs is missing."""
        for volume in self._facts.pod["spec"].get("volumes") or []:
            self.paths[volume["name"]] = await self._prepare(volume)

    async def _prepare(self, volume: dict[str, Any]) -> Path:
        name = volume["name"]
        path = self._folder / "volumes" / name
        try:
            if "persistentVolumeClaim" in volume:
                return await self._claim(volume["persistentVolumeClaim"]["claimName"])
            if "hostPath" in volume:
                return _host_path(volume["hostPath"])
            if "emptyDir" in volume:
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(0o777)
                return path
            files, mode = await self._files(volume)
        except MountError as error:
            raise MountError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
        write_payload(path, files, mode)
        return path

    async def _claim(self, name: str) -> Path:
        try:
            claim = await self._client.get(CLAIMS, self._namespace, name)
            if claim.get("status", {}).get("phase") != "Bound":
                raise MountError(f'persistentvolumeclaim "{name}" is not bound')
            volume = await self._client.get(VOLUMES, None, claim["spec"]["volumeName"])
        except ApiError as error:
            raise MountError(error.message) from error
        place = volume["spec"].get("hostPath") or volume["spec"].get("local")
        if not place:
            raise MountError("only volumes that are folders of this host can be mounted here")
        return _host_path({"path": place["path"], "type": "DirectoryOrCreate"})

    async def _files(self, volume: dict[str, Any]) -> tuple[Files, int]:
        for kind in ("configMap", "secret", "downwardAPI", "projected"):
            if kind in volume:
                body = volume[kind]
                sources = body.get("sources") or [] if kind == "projected" else [{kind: body}]
                files: Files = {}
                for source in sources:
                    files |= await self._project(source)
                return files, body.get("defaultMode") or 0o644
        unknown = ", ".join(key for key in volume if key != "name")
        raise MountError(f"volumes of type {unknown} are not supported here")

    async def _project(self, source: dict[str, Any]) -> Files:
        if "configMap" in source:
            return await self._selected("configmap", source["configMap"])
        if "secret" in source:
            return await self._selected("secret", source["secret"])
        if "downwardAPI" in source:
            return {item["path"]: self._downward(item) for item in source["downwardAPI"].get("items") or []}
        if "serviceAccountToken" in source:
            return {source["serviceAccountToken"]["path"]: await self._token(source["serviceAccountToken"])}
        raise MountError(f"projected volumes of type {', '.join(source)} are not supported here")

    async def _selected(self, kind: str, body: dict[str, Any]) -> Files:
        name = body.get("name") or body.get("secretName")
        data = await self._source.data(kind, name)
        if data is None:
            if body.get("optional"):
                return {}
            raise MountError(f'{kind} "{name}" not found')
        if not body.get("items"):
            return data
        missing = [item["key"] for item in body["items"] if item["key"] not in data]
        if missing and not body.get("optional"):
            raise MountError(f"references non-existent {kind} key: {missing[0]}")
        return {item["path"]: data[item["key"]] for item in body["items"] if item["key"] in data}

    def _downward(self, item: dict[str, Any]) -> bytes:
        if "fieldRef" in item:
            text = field(self._facts, item["fieldRef"]["fieldPath"])
        else:
            text = resource_of_pod(self._facts, item["resourceFieldRef"])
        return text.encode()

    async def _token(self, body: dict[str, Any]) -> bytes:
        pod = self._facts.pod["metadata"]
        spec: dict[str, Any] = {
            "expirationSeconds": max(body.get("expirationSeconds") or 3600, TOKEN_SECONDS),
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod["name"], "uid": pod["uid"]},
        }
        if body.get("audience"):
            spec["audiences"] = [body["audience"]]
        account = self._facts.pod["spec"].get("serviceAccountName") or "default"
        path = SERVICE_ACCOUNTS.path(self._namespace, account, "token")
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            answer = await self._client.call("POST", path, request)
        except ApiError as error:
            if error.code in (400, 404, 405, 501):  # An API that hands out no tokens: pods go without.
                return b""
            raise MountError(f"failed to fetch token: {error.message}") from error
        return answer["status"]["token"].encode()

    def mounts(self, container: Object, env: dict[str, str]) -> list[Mount]:
        """The container's volumeMounts as binds."""
        found = []
        for item in container.get("volumeMounts") or []:
            source = self.paths[item["name"]]
            sub_path = item.get("subPath") or expand(item.get("subPathExpr") or "", env)
            if sub_path:
                source = _inside(source, sub_path)
            found.append(Mount(str(source), item["mountPath"], bool(item.get("readOnly"))))
        return found


def _inside(folder: Path, sub_path: str) -> Path:
    path = (folder / sub_path).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise MountError(f'subPath "{sub_path}" leaves its volume')
    if not path.exists():
        path.mkdir(parents=True)
    return path


def _host_path(body: dict[str, Any]) -> Path:
    path = Path(body["path"])
    if body.get("type") == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
        return path
    if not path.exists():
        raise MountError(f"hostPath {path} does not exist")
    return path


def write_payload(folder: Path, files: Files, mode: int) -> None:
    """Files behind a dated folder and a `..data` link, as the kubelet writes them so that updates are
    atomic.
    """
    shutil.rmtree(folder, ignore_errors=True)
    dated = folder / time.strftime("..%Y_%m_%d_%H_%M_%S.0", time.gmtime())
    dated.mkdir(parents=True)
    for name, data in files.items():
        path = dated / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
    (folder / "..data").symlink_to(dated.name)
    for top in {name.split("/")[0] for name in files}:
        (folder / top).symlink_to(os.path.join("..data", top))


def remove(folder: Path) -> None:
    """Delete a pod's folder; files of other owners may resist, which is no reason to stop."""
    with contextlib.suppress(OSError):
        shutil.rmtree(folder, ignore_errors=True)
