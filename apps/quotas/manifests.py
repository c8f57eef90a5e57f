"""Pure functions from a tenancy to the objects that hold a project apart on a cluster.

The order is the order of creation: what isolates comes before what lets anything run.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import orjson

from apps.clusters import labels
from apps.clusters.gateway import Manifest

SERVICE_ACCOUNT = "cube-job"
WORKSPACE = "workspace"
SECRET_KIND = "secret"  # noqa: S105  The value of the label `cube.io/kind`, by which we find what we made.
DOCKER_HUB = "https://index.docker.io/v1/"
# The address of NodeLocal DNSCache, https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/
NODE_LOCAL_DNS = "169.254.20.10/32"


@dataclass(frozen=True)
class SecretSpec:
    """A project's secret with its values. `is_registry`: they are `server`, `username`, `password` of a registry."""

    name: str
    is_registry: bool
    data: Mapping[str, str]

    @property
    def object_name(self) -> str:
        return f"{'registry' if self.is_registry else 'secret'}-{self.name}"


@dataclass(frozen=True)
class Tenancy:
    """What a project's namespace on one cluster is made from.

    `workspace_size` is a Kubernetes quantity, or empty where the cluster has no storage to offer; `egress_except` are
    the CIDR ranges, IPv4 and IPv6, that jobs must not reach.
    """

    namespace: str
    project: str
    secrets: tuple[SecretSpec, ...] = ()
    workspace_size: str = ""
    workspace_access_mode: str = "ReadWriteOnce"
    egress_except: tuple[str, ...] = ()


def for_tenancy(tenancy: Tenancy) -> list[Manifest]:
    """Everything to apply. The workspace is not in it: a claim cannot change once made, see `workspace`."""
    return [
        namespace(tenancy),
        *_network_policies(tenancy),
        _limit_range(tenancy),
        *(_secret(tenancy, spec) for spec in tenancy.secrets),
        *_account(tenancy),
    ]


def namespace(tenancy: Tenancy) -> Manifest:
    """Pods that do not meet the "restricted" standard are refused by the API server itself, whoever creates them."""
    levels = {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "audit", "warn")
        for suffix, value in (("", "restricted"), ("-version", "latest"))
    }
    meta = {"name": tenancy.namespace, "labels": {**_labels(tenancy), **levels}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def workspace(tenancy: Tenancy) -> Manifest:
    """The project's own disk, of the cluster's default storage class."""
    spec = {
        "accessModes": [tenancy.workspace_access_mode],
        "resources": {"requests": {"storage": tenancy.workspace_size}},
    }
    return _namespaced(tenancy, "v1", "PersistentVolumeClaim", WORKSPACE, spec=spec)


def _labels(tenancy: Tenancy) -> dict[str, str]:
    return {**labels.MANAGED, labels.PROJECT: tenancy.project}


def _namespaced(tenancy: Tenancy, api_version: str, kind: str, name: str, **body: Any) -> Manifest:
    meta = {"name": name, "namespace": tenancy.namespace, "labels": _labels(tenancy)}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **body}


def _policy(tenancy: Tenancy, name: str, **spec: Any) -> Manifest:
    kinds = [kind for kind in ("Ingress", "Egress") if kind.lower() in spec]
    everyone: dict[str, Any] = {}
    body = {"podSelector": everyone, "policyTypes": kinds or ["Ingress", "Egress"], **spec}
    return _namespaced(tenancy, "networking.k8s.io/v1", "NetworkPolicy", name, spec=body)


def _network_policies(tenancy: Tenancy) -> list[Manifest]:
    neighbours: list[dict[str, Any]] = [{"podSelector": {}}]
    dns = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
        {"ipBlock": {"cidr": NODE_LOCAL_DNS}},
    ]
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return [
        _policy(tenancy, "default-deny"),
        _policy(tenancy, "allow-same-namespace", ingress=[{"from": neighbours}], egress=[{"to": neighbours}]),
        _policy(tenancy, "allow-dns", egress=[{"to": dns, "ports": ports}]),
        _policy(tenancy, "allow-internet", egress=[{"to": _internet(tenancy.egress_except)}]),
    ]


def _internet(excepted: tuple[str, ...]) -> list[dict[str, Any]]:
    blocks = []
    for version, everywhere in ((4, "0.0.0.0/0"), (6, "::/0")):
        ranges = [cidr for cidr in excepted if ip_network(cidr).version == version]
        blocks.append({"ipBlock": {"cidr": everywhere, **({"except": ranges} if ranges else {})}})
    return blocks


def _limit_range(tenancy: Tenancy) -> Manifest:
    """Containers that say nothing are still counted. No default limit: it could fall below a request and refuse it."""
    limit = {"type": "Container", "defaultRequest": {"cpu": "100m", "memory": "128Mi"}}
    return _namespaced(tenancy, "v1", "LimitRange", "defaults", spec={"limits": [limit]})


def _secret(tenancy: Tenancy, spec: SecretSpec) -> Manifest:
    values = {".dockerconfigjson": _docker_config(spec.data)} if spec.is_registry else dict(spec.data)
    manifest = _namespaced(
        tenancy,
        "v1",
        "Secret",
        spec.object_name,
        type="kubernetes.io/dockerconfigjson" if spec.is_registry else "Opaque",
        data={key: base64.b64encode(value.encode()).decode() for key, value in sorted(values.items())},
    )
    manifest["metadata"]["labels"][labels.KIND] = SECRET_KIND
    return manifest


def _docker_config(data: Mapping[str, str]) -> str:
    user, password = data.get("username", ""), data.get("password", "")
    entry = {"username": user, "password": password, "auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
    return orjson.dumps({"auths": {data.get("server") or DOCKER_HUB: entry}}).decode()


def _account(tenancy: Tenancy) -> list[Manifest]:
    """Jobs run as an account without a token, bound to a role without rules.

    The role grants nothing. It stands there so that a right a job may one day need has one place to be written, and
    so that nobody binds the account to a wider role for want of one.
    """
    pull = [{"name": spec.object_name} for spec in tenancy.secrets if spec.is_registry]
    subject = {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": tenancy.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": SERVICE_ACCOUNT}
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        _namespaced(
            tenancy,
            "v1",
            "ServiceAccount",
            SERVICE_ACCOUNT,
            automountServiceAccountToken=False,
            imagePullSecrets=pull,
        ),
        _namespaced(tenancy, rbac, "Role", SERVICE_ACCOUNT, rules=[]),
        _namespaced(tenancy, rbac, "RoleBinding", SERVICE_ACCOUNT, roleRef=role, subjects=[subject]),
    ]
