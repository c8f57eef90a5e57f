"""Writes on clusters: registering them, and remembering what a probe saw."""

import re
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.core.errors import InvalidInput
from apps.core.events import publish

from . import gateway
from .choices import Health
from .events import ClusterHealthChanged
from .gateway import Forbidden, Gateway, GatewayError, check_kubeconfig
from .models import Cluster, Node, ResourceGroup
from .snapshot import NodeFacts, Snapshot, is_default_storage, node_facts

# A service account may be denied nodes and storage classes, without the whole probe failing.
STORAGE = ("storage.k8s.io/v1", "StorageClass")
LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@transaction.atomic
def register_cluster(*, slug: str, name: str, kubeconfig: str, is_default: bool = False, actor: Any = None) -> Cluster:
    """Register a cluster and its default resource group. It is probed by the next tick, or by `probe_cluster`.

    Raises InvalidInput naming `slug`, `name` or `kubeconfig`.
    """
    check_kubeconfig(kubeconfig)
    cluster = Cluster(slug=slug, name=name, kubeconfig=kubeconfig, is_default=is_default)
    if is_default:
        _give_up_default()
    _check(cluster)
    cluster.save()
    ResourceGroup.objects.create(cluster=cluster, slug="default", name=_("Default"), is_default=True)
    audit.record(actor=actor, action="cluster.register", target=slug, detail={"name": name, "is_default": is_default})
    return cluster


@transaction.atomic
def update_kubeconfig(*, cluster: Cluster, kubeconfig: str, actor: Any = None) -> Cluster:
    """Reach the same cluster another way. What is known of it stays until the next probe. Raises InvalidInput."""
    check_kubeconfig(kubeconfig)
    locked = Cluster.objects.select_for_update().get(pk=cluster.pk)
    if locked.kubeconfig != kubeconfig:
        locked.kubeconfig = kubeconfig
        locked.save(update_fields=["kubeconfig", "updated_at"])
        audit.record(actor=actor, action="cluster.update_kubeconfig", target=locked.slug)
    return locked


@transaction.atomic
def update_cluster(*, cluster: Cluster, name: str, is_default: bool, actor: Any = None) -> Cluster:
    """Rename a cluster or make it the default one, which takes that away from another. Raises InvalidInput."""
    locked = Cluster.objects.select_for_update().get(pk=cluster.pk)
    locked.name, locked.is_default = name, is_default
    if is_default:
        _give_up_default(but=locked.pk)
    _check(locked)
    locked.save(update_fields=["name", "is_default", "updated_at"])
    audit.record(
        actor=actor, action="cluster.update", target=locked.slug, detail={"name": name, "is_default": is_default}
    )
    return locked


@transaction.atomic
def set_enabled(*, cluster: Cluster, is_enabled: bool, actor: Any = None) -> Cluster:
    """Offer a cluster for new work, or stop doing so. Its watcher follows within seconds."""
    locked = Cluster.objects.select_for_update().get(pk=cluster.pk)
    if locked.is_enabled != is_enabled:
        locked.is_enabled = is_enabled
        locked.save(update_fields=["is_enabled", "updated_at"])
        audit.record(actor=actor, action="cluster.enable" if is_enabled else "cluster.disable", target=locked.slug)
    return locked


@transaction.atomic
def save_resource_group(
    *, cluster: Cluster, slug: str, name: str, node_selector: dict[str, str], actor: Any = None, pk: int | None = None
) -> ResourceGroup:
    """Make a resource group, or change the one with primary key `pk`. Raises InvalidInput."""
    group = ResourceGroup.objects.get(pk=pk, cluster=cluster) if pk else ResourceGroup(cluster=cluster)
    check_selector(node_selector)
    group.slug, group.name, group.node_selector = slug, name, node_selector
    _check(group)
    group.save()
    detail = {"name": name, "node_selector": node_selector}
    audit.record(actor=actor, action="resource_group.save", target=group, detail=detail)
    return group


def probe_cluster(*, cluster_id: int) -> Cluster | None:
    """Ask a cluster how it is and remember the answer; None when it was removed meanwhile.

    An unreachable cluster keeps its last snapshot: what was true a minute ago is the best guess there is.
    """
    cluster = Cluster.objects.filter(pk=cluster_id).first()
    if cluster is None:
        return None
    try:
        seen = _look(gateway.connect(cluster))
    except Forbidden as refusal:
        return _record_health(cluster_id, Health.REFUSED, str(refusal))
    except (GatewayError, InvalidInput) as failure:  # InvalidInput: a kubeconfig stored before a stricter check
        return _record_health(cluster_id, Health.UNREACHABLE, str(failure))
    return _record_snapshot(cluster_id, seen)


def _look(api: Gateway) -> Snapshot:
    info = api.server_info()
    storage = _has_default_storage(api, info.group_versions)
    return Snapshot(info.version, list(info.group_versions), storage, _nodes(api))


def _nodes(api: Gateway) -> list[NodeFacts]:
    """Nothing where the account may not read nodes: jobs run all the same, only the choice of GPUs is missing."""
    try:
        return [node_facts(manifest) for manifest in api.list("v1", "Node").items]
    except Forbidden as refusal:
        if refusal.status == 401:  # not a right that lacks, but the credentials
            raise
        return []


def _has_default_storage(api: Gateway, served: tuple[str, ...]) -> bool:
    """Without the right to read storage classes we offer no workspace, rather than claims that never bind."""
    if STORAGE[0] not in served:
        return False
    try:
        return any(is_default_storage(found) for found in api.list(*STORAGE).items)
    except Forbidden as refusal:
        if refusal.status == 401:
            raise
        return False


@transaction.atomic
def _record_health(cluster_id: int, health: Health, message: str) -> Cluster | None:
    cluster = Cluster.objects.select_for_update().filter(pk=cluster_id).first()
    if cluster is None:
        return None
    changed = cluster.health != health
    cluster.health, cluster.health_message, cluster.probed_at = health, message[:2000], timezone.now()
    cluster.save(update_fields=["health", "health_message", "probed_at", "updated_at"])
    if changed:
        publish(ClusterHealthChanged(cluster_id=cluster_id, health=str(health)))
    return cluster


@transaction.atomic
def _record_snapshot(cluster_id: int, seen: Snapshot) -> Cluster | None:
    cluster = _record_health(cluster_id, Health.HEALTHY, "")
    if cluster is None:
        return None
    cluster.version, cluster.capabilities = seen.version[:60], seen.capabilities
    cluster.has_default_storage = seen.has_default_storage
    cluster.save(update_fields=["version", "capabilities", "has_default_storage", "updated_at"])
    _record_nodes(cluster, seen.nodes)
    return cluster


def _record_nodes(cluster: Cluster, seen: list[NodeFacts]) -> None:
    """Make the rows match, writing only those that changed: kubelets report every few seconds, mostly the same."""
    known = {node.name: node for node in cluster.nodes.all()}
    fresh, changed = [], []
    for facts in seen:
        node = known.pop(facts.name, None)
        if node is None:
            fresh.append(Node(cluster=cluster, name=facts.name, **facts.values()))
        elif any(getattr(node, key) != value for key, value in facts.values().items()):
            for key, value in facts.values().items():
                setattr(node, key, value)
            node.updated_at = timezone.now()
            changed.append(node)
    Node.objects.bulk_create(fresh, batch_size=500)
    Node.objects.bulk_update(changed, [*NodeFacts.__dataclass_fields__.keys() - {"name"}, "updated_at"], batch_size=500)
    Node.objects.filter(pk__in=[node.pk for node in known.values()]).delete()


def _give_up_default(*, but: int = 0) -> None:
    Cluster.objects.filter(is_default=True).exclude(pk=but).update(is_default=False)


def _check(row: Cluster | ResourceGroup) -> None:
    """Model validation in our own words."""
    try:
        row.full_clean()
    except ValidationError as error:
        raise InvalidInput({name.removeprefix("__all__"): said for name, said in error.message_dict.items()}) from None


def check_selector(selector: Any) -> None:
    """Node labels as Kubernetes takes them, since a wrong one would only show when a job cannot start.

    Raises InvalidInput on `node_selector`.
    """
    pairs = selector.items() if isinstance(selector, dict) else [("", None)]
    for key, value in pairs:
        if not (
            isinstance(key, str) and LABEL_KEY.fullmatch(key) and isinstance(value, str) and LABEL.fullmatch(value)
        ):
            raise InvalidInput({"node_selector": _('Write node labels as text, as in {"pool": "train"}.')})
