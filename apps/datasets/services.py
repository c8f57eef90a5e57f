"""Writes on workspaces: asking for a listing, and taking it in."""

from typing import Any

import orjson
from django.db import transaction
from django.utils import timezone

from apps.accounts import audit
from apps.clusters.models import Cluster
from apps.core.events import publish
from apps.projects.models import Project

from .choices import ListingStatus
from .events import ListingChanged, ListingRequested
from .manifests import MOST_FILES
from .models import Workspace


@transaction.atomic
def request_listing(*, project: Project, cluster: Cluster, actor: Any) -> Workspace:
    """Have the workspace looked at. While a listing is under way nothing new is asked."""
    workspace, _ = Workspace.objects.select_for_update().get_or_create(project=project, cluster=cluster)
    if workspace.is_listing:
        return workspace
    workspace.status, workspace.message, workspace.requested_at = ListingStatus.LISTING, "", timezone.now()
    workspace.save(update_fields=["status", "message", "requested_at", "updated_at"])
    audit.record(actor=actor, action="workspace.list", target=workspace, project=project.slug)
    publish(ListingRequested(workspace_id=workspace.pk))
    publish(ListingChanged(workspace_id=workspace.pk, project_id=project.pk))
    return workspace


@transaction.atomic
def record_listing(*, workspace_id: int, printed: bytes) -> None:
    """Keep what the pod printed. A tenant's pod is not trusted: anything malformed is a failure, not an exception."""
    try:
        found = orjson.loads(printed.strip().splitlines()[-1])
        files = [
            {"path": str(f["path"])[:500], "size": int(f["size"]), "modified": int(f["modified"])}
            for f in found["files"][:MOST_FILES]
        ]
    except (ValueError, KeyError, TypeError, IndexError):
        record_failure(workspace_id=workspace_id, message="The listing could not be read.")
        return
    _save(
        workspace_id,
        status=ListingStatus.READY,
        message="",
        files=files,
        is_truncated=bool(found.get("truncated")),
        listed_at=timezone.now(),
    )


@transaction.atomic
def record_failure(*, workspace_id: int, message: str) -> None:
    """The listing did not work; the last good one stays."""
    _save(workspace_id, status=ListingStatus.FAILED, message=message[:1000])


def _save(workspace_id: int, **values: Any) -> None:
    workspace = Workspace.objects.select_for_update().get(pk=workspace_id)
    for name, value in values.items():
        setattr(workspace, name, value)
    workspace.save(update_fields=[*values, "updated_at"])
    publish(ListingChanged(workspace_id=workspace.pk, project_id=workspace.project_id))
