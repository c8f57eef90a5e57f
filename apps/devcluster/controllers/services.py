"""EndpointSlices of services with a selector, from the pods they select, and the older Endpoints."""

from __future__ import annotations

from apps.devcluster.client import ENDPOINTS, PODS, SERVICES, SLICES, ApiError, Client, Informers, Object
from apps.devcluster.controllers.job_pods import ready
from apps.devcluster.loops import WorkQueue, now

NAME_LABEL = "kubernetes.io/service-name"
MANAGER_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


class ServiceController:
    """One slice per service: a laptop has no service with a hundred pods."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client, self._services = client, informers[SERVICES]
        self._pods, self._slices = informers[PODS], informers[SLICES]
        self.queue = WorkQueue(self.reconcile)
        self._services.subscribe(
            lambda kind, obj: self.queue.add(obj["metadata"]["namespace"], obj["metadata"]["name"])
        )
        self._pods.subscribe(self._on_pod)

    def _on_pod(self, kind: str, pod: Object) -> None:
        for service in self._services.of_namespace(pod["metadata"]["namespace"]):
            if _selects(service, pod):
                self.queue.add(service["metadata"]["namespace"], service["metadata"]["name"])

    async def reconcile(self, namespace: str, name: str) -> None:
        """Make the slice and the Endpoints of one service say what its pods do."""
        service = self._services.get(namespace, name)
        if service is None or not service["spec"].get("selector") or service["metadata"].get("deletionTimestamp"):
            return
        pods = [pod for pod in self._pods.of_namespace(namespace) if _selects(service, pod) and _address(pod)]
        pods = [pod for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        endpoints = [_endpoint(service, pod) for pod in sorted(pods, key=lambda p: p["metadata"]["name"])]
        await self._write_slice(service, endpoints)
        await self._write_endpoints(service, pods)

    async def _write_slice(self, service: Object, endpoints: list[Object]) -> None:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        known = [
            item
            for item in self._slices.of_namespace(namespace)
            if (item["metadata"].get("labels") or {}).get(NAME_LABEL) == name
            and item["metadata"]["labels"].get(MANAGER_LABEL) == MANAGER
        ]
        body = {"addressType": "IPv4", "endpoints": endpoints, "ports": _ports(service) if endpoints else []}
        if not known:
            labels = {MANAGER_LABEL: MANAGER, NAME_LABEL: name}
            if service["spec"].get("clusterIP") == "None":
                labels["service.kubernetes.io/headless"] = ""
            meta = {"generateName": f"{name}-", "namespace": namespace, "labels": labels}
            meta |= {"annotations": {TRIGGER: now()}, "ownerReferences": [_owner(service)]}
            made = await self._client.create(SLICES, namespace, {"metadata": meta, **body})
            # Seen at once, or a second event would make a second slice before the watch tells of the first.
            self._slices.items.setdefault((namespace, made["metadata"]["name"]), made)
            return
        if any((known[0].get(key) or []) != body[key] for key in ("endpoints", "ports")):
            meta = {"annotations": {TRIGGER: now()}}
            await self._client.patch(SLICES, namespace, known[0]["metadata"]["name"], {"metadata": meta, **body})

    async def _write_endpoints(self, service: Object, pods: list[Object]) -> None:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        publish = service["spec"].get("publishNotReadyAddresses")
        groups: dict[str, list[Object]] = {"addresses": [], "notReadyAddresses": []}
        for pod in pods:
            if not pod["metadata"].get("deletionTimestamp"):
                groups["addresses" if publish or ready(pod) else "notReadyAddresses"].append(_old_address(service, pod))
        subset = {key: addresses for key, addresses in groups.items() if addresses}
        subsets = [subset | {"ports": _ports(service)}] if subset else []
        try:
            known = await self._client.get(ENDPOINTS, namespace, name)
        except ApiError as error:
            if not error.missing:
                raise
            labels = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
            meta = {"name": name, "namespace": namespace, "labels": labels, "annotations": {TRIGGER: now()}}
            await self._client.create(ENDPOINTS, namespace, {"metadata": meta, "subsets": subsets})
            return
        if (known.get("subsets") or []) != subsets:
            await self._client.patch(ENDPOINTS, namespace, name, {"subsets": subsets})


def _selects(service: Object, pod: Object) -> bool:
    selector, labels = service["spec"].get("selector") or {}, pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _address(pod: Object) -> str | None:
    return (pod.get("status") or {}).get("podIP")


def _owner(service: Object) -> Object:
    meta = service["metadata"]
    reference = {"apiVersion": "v1", "kind": "Service", "name": meta["name"], "uid": meta["uid"]}
    return reference | {"controller": True, "blockOwnerDeletion": True}


def _ports(service: Object) -> list[Object]:
    found = []
    for port in service["spec"].get("ports") or []:
        target = port.get("targetPort")
        number = target if isinstance(target, int) and target else port["port"]
        found.append({"name": port.get("name", ""), "protocol": port.get("protocol", "TCP"), "port": number})
    return found


def _reference(pod: Object) -> Object:
    meta = pod["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


def _hostname(service: Object, pod: Object) -> Object:
    """Only a pod that names this service as its subdomain is known by its hostname in it."""
    spec = pod["spec"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        return {"hostname": spec["hostname"]}
    return {}


def _endpoint(service: Object, pod: Object) -> Object:
    serving, leaving = ready(pod), bool(pod["metadata"].get("deletionTimestamp"))
    shown = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not leaving)
    conditions = {"ready": shown, "serving": serving or shown, "terminating": leaving}
    base = {"addresses": [_address(pod)], "conditions": conditions, **_hostname(service, pod)}
    return base | {"targetRef": _reference(pod), "nodeName": pod["spec"].get("nodeName")}


def _old_address(service: Object, pod: Object) -> Object:
    base = {"ip": _address(pod), **_hostname(service, pod), "nodeName": pod["spec"].get("nodeName")}
    return base | {"targetRef": _reference(pod)}
