"""A pod's /etc/hosts: itself, every service, and every pod that a headless service publishes.

Names stand in for cluster DNS: `<service>` with and without `.<namespace>[.svc[.cluster.local]]`, and before it
`<hostname>.` of a headless service's pods; without the namespace only inside it. Source:
https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from apps.devcluster.client import Object

SERVICE_LABEL = "kubernetes.io/service-name"
DOMAIN = "cluster.local"


def hostname(pod: Object) -> str:
    """The pod's hostname: as asked, else its name, at most 63 characters."""
    return pod["spec"].get("hostname") or pod["metadata"]["name"][:63].rstrip("-.")


def _names(name: str, namespace: str, inside: str) -> list[str]:
    names = [f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.{DOMAIN}"]
    return [name, *names] if namespace == inside else names


def addresses(services: Iterable[Object], slices: Iterable[Object], inside: str) -> list[tuple[str, list[str]]]:
    """Addresses with their names, as a pod in the namespace `inside` sees them."""
    found, headless = [], set()
    for service in services:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        address = service["spec"].get("clusterIP")
        if address == "None":
            headless.add((namespace, name))
        elif address:
            found.append((address, _names(name, namespace, inside)))
    for item in slices:
        namespace = item["metadata"]["namespace"]
        name = (item["metadata"].get("labels") or {}).get(SERVICE_LABEL, "")
        for endpoint in item.get("endpoints") or [] if (namespace, name) in headless else ():
            if (endpoint.get("conditions") or {}).get("ready", True):
                names = _names(name, namespace, inside)
                if endpoint.get("hostname"):
                    names = _names(f"{endpoint['hostname']}.{name}", namespace, inside) + names
                found += [(address, names) for address in endpoint["addresses"]]
    return sorted(found)


def own_line(pod: Object, address: str) -> str:
    """How the pod sees itself: the fully qualified name first where it has a subdomain."""
    name, spec = hostname(pod), pod["spec"]
    names = [name]
    if spec.get("subdomain"):
        names.insert(0, f"{name}.{spec['subdomain']}.{pod['metadata']['namespace']}.svc.{DOMAIN}")
    return f"{address}\t{' '.join(names)}"


def write(path: Path, pod: Object, address: str, peers: list[tuple[str, list[str]]]) -> None:
    """Write in place: the file is bind-mounted, so replacing it would not be seen inside."""
    aliases = [f"{a['ip']}\t{' '.join(a.get('hostnames') or [])}" for a in pod["spec"].get("hostAliases") or []]
    own = own_line(pod, address)
    header = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost"]
    text = "\n".join([*header, own, *aliases, *(f"{at}\t{' '.join(names)}" for at, names in peers)]) + "\n"
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
