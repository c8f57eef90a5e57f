"""Writes where tenancy and capacity meet: the namespace of a project on a cluster."""

from datetime import timedelta

import orjson
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.clusters import gateway, labels
from apps.clusters.gateway import AlreadyExists, Gateway, GatewayError, Manifest, NotFound, ObjectRef, Unavailable
from apps.clusters.models import Cluster
from apps.core.errors import DomainError
from apps.projects.choices import SecretKind
from apps.projects.models import Project

from . import manifests, selectors
from .manifests import SecretSpec, Tenancy
from .models import TenantNamespace

FRESH = timedelta(minutes=10)  # after that even an unchanged namespace is put right again, in case somebody touched it


class NamespaceTaken(DomainError):
    """The namespace exists and belongs to somebody else. Cube never adopts one."""

    code = "namespace_taken"


def reconcile_namespace(*, project: Project, cluster: Cluster) -> TenantNamespace:
    """Make the project's namespace on the cluster what it should be, and remember that.

    Asks the cluster nothing when the same was done less than ten minutes ago. Calls the network: never call it inside a
    transaction. Raises NamespaceTaken and what the gateway raises; Unavailable also while the namespace is going away.
    """
    tenancy = _tenancy(project, cluster)
    fingerprint = _fingerprint(tenancy)
    known = selectors.tenancy_of(project, cluster)
    if known and known.fingerprint == fingerprint and known.reconciled_at and _is_fresh(known):
        return known
    api = gateway.connect(cluster)
    _claim(api, tenancy)
    for manifest in manifests.for_tenancy(tenancy)[1:]:
        api.apply(manifest)
    _remove_old_secrets(api, tenancy)
    if tenancy.workspace_size:
        _ensure_workspace(api, tenancy)
    return _remember(project=project, cluster=cluster, tenancy=tenancy, fingerprint=fingerprint)


def forget_if_gone(refusal: GatewayError, *, project: Project, cluster: Cluster) -> bool:
    """Whether `refusal` says that the namespace went, or is going, since it was reconciled; then the next time makes it
    anew instead of believing the row."""
    said = str(refusal)
    is_gone = isinstance(refusal, NotFound) and said.startswith("namespaces ")
    if not (is_gone or "because it is being terminated" in said):
        return False
    TenantNamespace.objects.filter(project=project, cluster=cluster).update(reconciled_at=None)
    return True


def _is_fresh(known: TenantNamespace) -> bool:
    return known.reconciled_at is not None and known.reconciled_at > timezone.now() - FRESH


def _tenancy(project: Project, cluster: Cluster) -> Tenancy:
    secrets = project.secrets.order_by("kind", "name")
    return Tenancy(
        namespace=selectors.namespace_name(project),
        project=project.slug,
        secrets=tuple(SecretSpec(s.name, s.kind == SecretKind.REGISTRY, s.data) for s in secrets),
        workspace_size=settings.CUBE_WORKSPACE_SIZE if cluster.has_default_storage else "",
        workspace_access_mode=settings.CUBE_WORKSPACE_ACCESS_MODE,
        egress_except=tuple(settings.CUBE_EGRESS_EXCEPT),
    )


def _fingerprint(tenancy: Tenancy) -> str:
    """Keyed, because the manifests hold secrets: the digest alone must not let anybody try out guesses."""
    wanted = [*manifests.for_tenancy(tenancy), manifests.workspace(tenancy) if tenancy.workspace_size else None]
    text = orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)
    return salted_hmac("quotas.fingerprint", text, algorithm="sha256").hexdigest()


def _claim(api: Gateway, tenancy: Tenancy) -> None:
    """Create the namespace, or bring up to date the one that is already this project's."""
    wanted = manifests.namespace(tenancy)
    ref = ObjectRef.of(wanted)
    try:
        found = api.get(ref)
    except NotFound:
        try:
            found = api.create(wanted)
        except AlreadyExists:  # Another worker was quicker, or somebody else's namespace appeared: look whose it is.
            found = api.get(ref)
    _refuse_foreign(found, tenancy)
    api.apply(wanted)


def _refuse_foreign(found: Manifest, tenancy: Tenancy) -> None:
    held = found["metadata"].get("labels") or {}
    shown = {"namespace": tenancy.namespace, "owner": held.get(labels.PROJECT, "?")[:63]}
    if held.get(labels.MANAGED_BY) != labels.CUBE:
        raise NamespaceTaken(
            _("The namespace %(namespace)s exists on the cluster and is not Cube's. Remove or rename it.") % shown
        )
    if held.get(labels.PROJECT) != tenancy.project:
        raise NamespaceTaken(_("The namespace %(namespace)s belongs to another project (%(owner)s).") % shown)
    if found["metadata"].get("deletionTimestamp"):
        raise Unavailable(_("The namespace %(namespace)s is being deleted; it is made again afterwards.") % shown)


def _remove_old_secrets(api: Gateway, tenancy: Tenancy) -> None:
    ours = {**labels.MANAGED, labels.KIND: manifests.SECRET_KIND}
    wanted = {spec.object_name for spec in tenancy.secrets}
    for found in api.list("v1", "Secret", namespace=tenancy.namespace, labels=ours).items:
        if found["metadata"]["name"] not in wanted:
            api.delete(ObjectRef("v1", "Secret", found["metadata"]["name"], tenancy.namespace))


def _ensure_workspace(api: Gateway, tenancy: Tenancy) -> None:
    """A claim that exists stays as it is: Kubernetes forbids most changes, and it holds the project's files."""
    try:
        api.create(manifests.workspace(tenancy))
    except AlreadyExists:
        return


@transaction.atomic
def _remember(*, project: Project, cluster: Cluster, tenancy: Tenancy, fingerprint: str) -> TenantNamespace:
    values = {
        "name": tenancy.namespace,
        "has_workspace": bool(tenancy.workspace_size),
        "fingerprint": fingerprint,
        "reconciled_at": timezone.now(),
    }
    before = TenantNamespace.objects.filter(project=project, cluster=cluster).values_list("fingerprint", flat=True)
    if before.first() != fingerprint:
        audit.record(
            actor=None,
            action="namespace.reconcile",
            target=f"{cluster.slug}/{tenancy.namespace}",
            project=project.slug,
            detail={"objects": [spec.object_name for spec in tenancy.secrets]},
        )
    row, _created = TenantNamespace.objects.update_or_create(project=project, cluster=cluster, defaults=values)
    return row
