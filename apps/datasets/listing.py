"""The cluster's side of a listing: start the pod, read what it printed, remove it."""

from django.conf import settings

from apps.clusters import gateway
from apps.clusters.gateway import AlreadyExists, Gateway, GatewayError, Invalid, Manifest, NotFound, ObjectRef
from apps.core.errors import DomainError
from apps.quotas.selectors import namespace_name
from apps.quotas.services import forget_if_gone, reconcile_namespace

from . import manifests, services
from .choices import ListingStatus
from .models import Workspace

NO_STORAGE = "This cluster has no default storage class, so projects have no workspace on it."
MOST_BYTES = 2 * 1024 * 1024


def start(*, workspace_id: int) -> None:
    """Create the listing pod; one that exists already is as good. Raises Unavailable: the task tries again."""
    workspace = Workspace.objects.select_related("project", "cluster").get(pk=workspace_id)
    try:
        tenancy = reconcile_namespace(project=workspace.project, cluster=workspace.cluster)
        if not tenancy.has_workspace:
            services.record_failure(workspace_id=workspace_id, message=NO_STORAGE)
            return
        pod = manifests.listing_pod(workspace, namespace=tenancy.name, image=settings.CUBE_TOOLS_IMAGE)
        api = gateway.connect(workspace.cluster)
        try:
            api.create(pod)
        except AlreadyExists:
            finish(workspace_id=workspace_id, pod=api.get(ObjectRef.of(pod)))
    except gateway.Unavailable:
        raise
    except GatewayError as refusal:
        if forget_if_gone(refusal, project=workspace.project, cluster=workspace.cluster):
            raise gateway.Unavailable(str(refusal)) from refusal
        services.record_failure(workspace_id=workspace_id, message=str(refusal))
    except DomainError as refusal:
        services.record_failure(workspace_id=workspace_id, message=str(refusal))


def finish(*, workspace_id: int, pod: Manifest) -> None:
    """Take in an ended pod; one that still runs is left alone. Safe to call again: the pod is gone by then."""
    phase = pod.get("status", {}).get("phase")
    workspace = Workspace.objects.select_related("project", "cluster").filter(pk=workspace_id).first()
    if workspace is None or phase not in {"Succeeded", "Failed"}:
        return
    ref = ObjectRef("v1", "Pod", manifests.pod_name(workspace), namespace_name(workspace.project))
    if pod["metadata"]["name"] != ref.name or pod["metadata"]["namespace"] != ref.namespace:
        return
    api = gateway.connect(workspace.cluster)
    if workspace.status != ListingStatus.LISTING:  # Taken in already: one end of a pod is told in several events.
        api.delete(ref, grace_seconds=0)
        return
    try:
        printed = _printed(api, ref)
    except gateway.Unavailable:
        raise
    except NotFound:  # somebody was quicker
        return
    except GatewayError as refusal:
        services.record_failure(workspace_id=workspace_id, message=str(refusal))
        api.delete(ref, grace_seconds=0)  # else the next listing would adopt it and fail the same way
        return
    if phase == "Succeeded":
        services.record_listing(workspace_id=workspace_id, printed=printed)
    else:
        tail = printed.decode(errors="replace").strip()[-300:]
        services.record_failure(workspace_id=workspace_id, message=tail or _why(pod))
    api.delete(ref, grace_seconds=0)


def _printed(api: Gateway, ref: ObjectRef) -> bytes:
    """What the pod said; nothing when its container never started: an image that is missing, a volume that hangs."""
    try:
        return api.read_log(
            namespace=ref.namespace, pod=ref.name, container=manifests.CONTAINER, limit_bytes=MOST_BYTES
        )
    except Invalid:
        return b""


def _why(pod: Manifest) -> str:
    """Why a pod failed that printed nothing: what holds its container up tells more than that time ran out."""
    status = pod.get("status") or {}
    waiting = [(c.get("state") or {}).get("waiting") or {} for c in status.get("containerStatuses") or []]
    said = [status.get("message"), *(each.get("message") or each.get("reason") for each in waiting)]
    return " ".join(filter(None, ["The listing pod failed.", *said]))
