"""EndpointSlices of services with a selector, from the pods they select, and the older Endpoints."""

from __future__ import annotations

from apps.devcluster.client import ENDPOINTS, PODS, SERVICES, SLICES, ApiError, Client, Informers, Object
from apps.devcluster.controllers.owner import ready, terminal
from apps.devcluster.loops import WorkQueue, now

NAME_LABEL = "kubernetes.io/service-name"
MANAGER_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
API_NETWORK = "127.97"  # beside that of all other services
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


class ServiceController:
    """One slice per set of port numbers: a laptop has no service with a hundred pods."""

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
        """Make the slices and the Endpoints of one service say what its pods do."""
        service = self._services.get(namespace, name)
        if service is None or not service["spec"].get("selector") or service["metadata"].get("deletionTimestamp"):
            return
        found = [pod for pod in self._pods.of_namespace(namespace) if _selects(service, pod)]
        pods = [pod for pod in found if _address(pod) and not terminal(pod)]
        groups: list[tuple[list[Object], list[Object]]] = []  # Pods may give one named port different numbers.
        for pod in sorted(pods, key=lambda p: p["metadata"]["name"]):
            ports = _ports(service, pod)
            same = next((members for known, members in groups if known == ports), None)
            if same is None:
                groups.append((ports, same := []))
            same.append(pod)
        await self._write_slices(service, groups or [([], [])])
        await self._write_endpoints(service, groups)

    async def _write_slices(self, service: Object, groups: list[tuple[list[Object], list[Object]]]) -> None:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        known = [item for item in self._slices.of_namespace(namespace) if _ours(item, name)]
        for ports, pods in groups:
            same = next((item for item in known if (item.get("ports") or []) == ports), known[0] if known else None)
            body = {"addressType": "IPv4", "endpoints": [_endpoint(service, pod) for pod in pods], "ports": ports}
            if same is None:
                labels = {MANAGER_LABEL: MANAGER, NAME_LABEL: name}
                if service["spec"].get("clusterIP") == "None":
                    labels["service.kubernetes.io/headless"] = ""
                meta = {"generateName": f"{name}-", "namespace": namespace, "labels": labels}
                meta |= {"annotations": {TRIGGER: now()}, "ownerReferences": [_owner(service)]}
                await self._client.create(SLICES, namespace, {"metadata": meta, **body})
                continue
            known.remove(same)
            if any((same.get(key) or []) != body[key] for key in ("endpoints", "ports")):
                meta = {"annotations": {TRIGGER: now()}}
                await self._client.patch(SLICES, namespace, same["metadata"]["name"], {"metadata": meta, **body})
        for item in known:
            await self._client.delete(SLICES, namespace, item["metadata"]["name"])

    async def _write_endpoints(self, service: Object, groups: list[tuple[list[Object], list[Object]]]) -> None:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        subsets = list(filter(None, (_subset(service, ports, pods) for ports, pods in groups)))
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

    async def make_api_service(self, host: str, port: int) -> None:
        """`kubernetes.default`: the API's own service, made anew with this run's port behind it.

        Its address is made of the port, so that several clusters on one host do not ask for the same one.
        """
        meta = {"name": "kubernetes", "namespace": "default"}
        named = {"name": "https", "protocol": "TCP"}
        spec = {
            "clusterIP": f"{API_NETWORK}.{port >> 8}.{port & 255}",
            "ports": [named | {"port": 443, "targetPort": port}],
        }
        labels = {"component": "apiserver", "provider": "kubernetes"}
        endpoints = [{"addresses": [host], "conditions": {"ready": True}}]
        body = {"addressType": "IPv4", "endpoints": endpoints, "ports": [named | {"port": port}]}
        slice_meta = meta | {"labels": {NAME_LABEL: "kubernetes"}}
        for resource in (SERVICES, SLICES):
            await self._client.delete(resource, "default", "kubernetes")
        await self._client.create(SERVICES, "default", {"metadata": meta | {"labels": labels}, "spec": spec})
        await self._client.create(SLICES, "default", {"metadata": slice_meta, **body})


def _ours(item: Object, service: str) -> bool:
    labels = item["metadata"].get("labels") or {}
    return labels.get(NAME_LABEL) == service and labels.get(MANAGER_LABEL) == MANAGER


def _subset(service: Object, ports: list[Object], pods: list[Object]) -> Object:
    """The older form of one slice; pods that are leaving are not in it."""
    groups: Object = {"addresses": [], "notReadyAddresses": []}
    for pod in pods:
        if not pod["metadata"].get("deletionTimestamp"):
            shown = service["spec"].get("publishNotReadyAddresses") or ready(pod)
            groups["addresses" if shown else "notReadyAddresses"].append(_old_address(service, pod))
    found = {key: addresses for key, addresses in groups.items() if addresses}
    return found | {"ports": ports} if found else {}


def _selects(service: Object, pod: Object) -> bool:
    selector, labels = service["spec"].get("selector") or {}, pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _address(pod: Object) -> str | None:
    return (pod.get("status") or {}).get("podIP")


def _owner(service: Object) -> Object:
    meta = service["metadata"]
    reference = {"apiVersion": "v1", "kind": "Service", "name": meta["name"], "uid": meta["uid"]}
    return reference | {"controller": True, "blockOwnerDeletion": True}


def _ports(service: Object, pod: Object) -> list[Object]:
    """The service's ports as this pod has them; a named port that it does not declare is left out."""
    found = []
    for port in service["spec"].get("ports") or []:
        protocol, target = port.get("protocol", "TCP"), port.get("targetPort") or port["port"]
        number = target if isinstance(target, int) else _named_port(pod, target, protocol)
        if number is not None:
            found.append({"name": port.get("name", ""), "protocol": protocol, "port": number})
    return found


def _named_port(pod: Object, name: str, protocol: str) -> int | None:
    containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    ports = [port for container in containers for port in container.get("ports") or ()]
    fitting = (p["containerPort"] for p in ports if p.get("name") == name and p.get("protocol", "TCP") == protocol)
    return next(fitting, None)


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
