"""A pod's /etc/hosts: itself, and every pod that a headless service of its namespace publishes.

Names stand in for cluster DNS: `<hostname>.<service>` with and without
`.<namespace>[.svc[.cluster.local]]`, and the service's own name for all its addresses. Source:
https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from pathlib import Path

from apps.devcluster.client import Object

SERVICE_LABEL = "kubernetes.io/service-name"
DOMAIN = "cluster.local"


def hostname(pod: Object) -> str:
    """The pod's hostname: as asked, else its name, at most 63 characters."""
    return pod["spec"].get("hostname") or pod["metadata"]["name"][:63].rstrip("-.")


def _suffixes(name: str, namespace: str) -> list[str]:
    return [name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.{DOMAIN}"]


def peer_lines(slices: list[Object]) -> list[str]:
    """One line for each published endpoint of the namespace's services."""
    lines = []
    for item in slices:
        service = (item["metadata"].get("labels") or {}).get(SERVICE_LABEL)
        if not service:
            continue
        namespace = item["metadata"]["namespace"]
        for endpoint in item.get("endpoints") or []:
            if not (endpoint.get("conditions") or {}).get("ready", True):
                continue
            names = _suffixes(service, namespace)
            if endpoint.get("hostname"):
                names = _suffixes(f"{endpoint['hostname']}.{service}", namespace) + names
            lines += [f"{address}\t{' '.join(names)}" for address in endpoint["addresses"]]
    return sorted(lines)


def peer_names(slices: list[Object]) -> list[str]:
    """Only the names, for hosts where they are replaced by the loopback address."""
    return sorted({name for line in peer_lines(slices) for name in line.split("\t")[1].split()})


def own_line(pod: Object, address: str) -> str:
    """How the pod sees itself: the fully qualified name first where it has a subdomain."""
    name, spec = hostname(pod), pod["spec"]
    names = [name]
    if spec.get("subdomain"):
        names.insert(0, f"{name}.{spec['subdomain']}.{pod['metadata']['namespace']}.svc.{DOMAIN}")
    return f"{address}\t{' '.join(names)}"


def write(path: Path, pod: Object, address: str, slices: list[Object]) -> None:
    """Write in place: the file is bind-mounted, so replacing it would not be seen inside."""
    aliases = [f"{a['ip']}\t{' '.join(a.get('hostnames') or [])}" for a in pod["spec"].get("hostAliases") or []]
    own = own_line(pod, address)
    header = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost"]
    text = "\n".join([*header, own, *aliases, *peer_lines(slices)]) + "\n"
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
