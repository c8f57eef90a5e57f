"""The table of kinds this server offers. A row is data; nothing else names a kind it could avoid naming."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from . import errors
from .structural import Custom

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Subresource:
    name: str
    verbs: tuple[str, ...]
    kind: str = ""
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One row: how a kind is named, reached and shown. Rows for custom resources are made at run time."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    categories: tuple[str, ...] = ()
    generation: bool = False
    stored_as: str = ""  # events.k8s.io shows what the core group stores
    subresource_names: frozenset[str] = field(default_factory=frozenset)
    custom: Custom | None = None

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> str:
        """The storage key: one table of objects per group and plural, whatever the version asked for."""
        return self.stored_as or (f"{self.plural}.{self.group}" if self.group else self.plural)

    @property
    def has_status(self) -> bool:
        return "status" in self.subresource_names

    def subresource(self, name: str) -> Subresource | None:
        return next((s for s in self.subresources if s.name == name), None)


STATUS = Subresource("status", ("get", "patch", "update"))
SCALE = Subresource("scale", ("get", "patch", "update"), "Scale", "autoscaling", "v1")
POD_SUBRESOURCES = (
    Subresource("attach", ("create", "get"), "PodAttachOptions"),
    Subresource("binding", ("create",), "Binding"),
    Subresource("ephemeralcontainers", ("get", "patch", "update")),
    Subresource("eviction", ("create",), "Eviction", "policy", "v1"),
    Subresource("exec", ("create", "get"), "PodExecOptions"),
    Subresource("log", ("get",)),
    Subresource("portforward", ("create", "get"), "PodPortForwardOptions"),
    Subresource("proxy", ("create", "delete", "get", "patch", "update"), "PodProxyOptions"),
    Subresource("resize", ("get", "patch", "update")),
    STATUS,
)
SERVICE_PROXY = Subresource("proxy", ("create", "delete", "get", "patch", "update"), "ServiceProxyOptions")
NODE_PROXY = Subresource("proxy", ("create", "delete", "get", "patch", "update"), "NodeProxyOptions")
TOKEN = Subresource("token", ("create",), "TokenRequest", "authentication.k8s.io", "v1")
FINALIZE = Subresource("finalize", ("update",))
NO_COLLECTION = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
CREATE = ("create",)
READ = ("get", "list")
GLOBAL = False


def row(
    group_version: str,
    kind: str,
    plural: str = "",
    *,
    short: str = "",
    namespaced: bool = True,
    verbs: tuple[str, ...] = ALL_VERBS,
    sub: Iterable[Subresource] = (),
    everyone: bool = False,
    generation: bool = False,
    stored_as: str = "",
    singular: str | None = None,
) -> Resource:
    group, _, version = group_version.rpartition("/")
    return Resource(
        group=group,
        version=version,
        kind=kind,
        plural=plural or kind.lower() + "s",
        singular=kind.lower() if singular is None else singular,
        namespaced=namespaced,
        short_names=tuple(short.split()),
        verbs=verbs,
        subresources=tuple(sub),
        categories=("all",) if everyone else (),
        generation=generation,
        stored_as=stored_as,
        subresource_names=frozenset(s.name for s in sub),
    )


RBAC, AUTHZ, AUTHN = "rbac.authorization.k8s.io/v1", "authorization.k8s.io/v1", "authentication.k8s.io/v1"

BUILT_IN: tuple[Resource, ...] = (
    row("v1", "Binding", verbs=CREATE),
    row("v1", "ConfigMap", short="cm"),
    row("v1", "Endpoints", "endpoints", short="ep"),
    row("v1", "Event", short="ev"),
    row("v1", "LimitRange", short="limits"),
    row("v1", "Namespace", short="ns", namespaced=GLOBAL, verbs=NO_COLLECTION, sub=(FINALIZE, STATUS)),
    row("v1", "Node", short="no", namespaced=GLOBAL, sub=(NODE_PROXY, STATUS)),
    row("v1", "PersistentVolumeClaim", short="pvc", sub=(STATUS,)),
    row("v1", "PersistentVolume", short="pv", namespaced=GLOBAL, sub=(STATUS,)),
    row("v1", "Pod", short="po", sub=POD_SUBRESOURCES, everyone=True, generation=True),
    row("v1", "ResourceQuota", short="quota", sub=(STATUS,)),
    row("v1", "Secret"),
    row("v1", "ServiceAccount", short="sa", sub=(TOKEN,)),
    row("v1", "Service", short="svc", sub=(SERVICE_PROXY, STATUS), everyone=True),
    row(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        short="crd crds",
        namespaced=GLOBAL,
        sub=(STATUS,),
        generation=True,
    ),
    row("apps/v1", "ControllerRevision"),
    row("apps/v1", "Deployment", short="deploy", sub=(SCALE, STATUS), everyone=True, generation=True),
    row("apps/v1", "ReplicaSet", short="rs", sub=(SCALE, STATUS), everyone=True, generation=True),
    row("events.k8s.io/v1", "Event", short="ev", stored_as="events"),
    row(AUTHN, "SelfSubjectReview", namespaced=GLOBAL, verbs=CREATE),
    row(AUTHN, "TokenReview", namespaced=GLOBAL, verbs=CREATE),
    row(AUTHZ, "LocalSubjectAccessReview", verbs=CREATE),
    row(AUTHZ, "SelfSubjectAccessReview", namespaced=GLOBAL, verbs=CREATE),
    row(AUTHZ, "SelfSubjectRulesReview", namespaced=GLOBAL, verbs=CREATE),
    row(AUTHZ, "SubjectAccessReview", namespaced=GLOBAL, verbs=CREATE),
    row("batch/v1", "CronJob", short="cj", sub=(STATUS,), everyone=True, generation=True),
    row("batch/v1", "Job", sub=(STATUS,), everyone=True, generation=True),
    row("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", short="netpol", generation=True),
    row("policy/v1", "PodDisruptionBudget", short="pdb", sub=(STATUS,), generation=True),
    row(RBAC, "ClusterRoleBinding", namespaced=GLOBAL),
    row(RBAC, "ClusterRole", namespaced=GLOBAL),
    row(RBAC, "RoleBinding"),
    row(RBAC, "Role"),
    row("storage.k8s.io/v1", "StorageClass", "storageclasses", short="sc", namespaced=GLOBAL),
    row(
        "scheduling.k8s.io/v1",
        "PriorityClass",
        "priorityclasses",
        short="pc",
        namespaced=GLOBAL,
        generation=True,
    ),
    row("coordination.k8s.io/v1", "Lease"),
    row("discovery.k8s.io/v1", "EndpointSlice", generation=True),
    row("metrics.k8s.io/v1beta1", "NodeMetrics", "nodes", namespaced=GLOBAL, verbs=READ, singular=""),
    row("metrics.k8s.io/v1beta1", "PodMetrics", "pods", verbs=READ, singular=""),
)


class Registry:
    """Rows by group, version and plural; open for custom resources, which come and go while the server runs."""

    def __init__(self, rows: Iterable[Resource] = BUILT_IN) -> None:
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        self._versions: dict[str, list[str]] = {}
        for resource in rows:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        self._by_path[resource.group, resource.version, resource.plural] = resource
        self._by_kind.setdefault((resource.api_version, resource.kind), resource)
        versions = self._versions.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
            if resource.custom:
                versions.sort(key=_precedence)

    def remove(self, resource: Resource) -> None:
        self._by_path.pop((resource.group, resource.version, resource.plural), None)
        self._by_kind.pop((resource.api_version, resource.kind), None)
        if not any(row.version == resource.version for row in self.of_group(resource.group)):
            self._versions[resource.group].remove(resource.version)
            if not self._versions[resource.group]:
                del self._versions[resource.group]

    def find(self, group: str, version: str, plural: str) -> Resource:
        try:
            return self._by_path[group, version, plural]
        except KeyError:
            raise errors.no_such_resource() from None

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        return self._by_kind.get((api_version, kind))

    def of_group(self, group: str, version: str | None = None) -> list[Resource]:
        return [r for r in self._by_path.values() if r.group == group and version in (None, r.version)]

    def groups(self) -> dict[str, list[str]]:
        return self._versions

    def stored(self) -> Iterator[Resource]:
        """Every kind that has objects of its own, each storage key once."""
        return (r for r in self._by_path.values() if "watch" in r.verbs and not r.stored_as)


def _precedence(version: str) -> tuple[int, int, int, str]:
    """v2, v1, v1beta2, v1beta1, v1alpha1, others (k8s.io/apimachinery/pkg/version/helpers.go)."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not found:
        return 3, 0, 0, version
    return {None: 0, "beta": 1, "alpha": 2}[found[2]], -int(found[1]), -int(found[3] or 0), version
