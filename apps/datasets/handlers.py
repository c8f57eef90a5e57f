from apps.clusters.events import WorkloadObserved
from apps.core.events import subscribe
from apps.core.push import push

from . import listing, tasks
from .events import ListingChanged, ListingRequested


@subscribe(ListingRequested)
def enqueue_listing(event: ListingRequested) -> None:
    tasks.start_listing.delay(workspace_id=event.workspace_id)


@subscribe(WorkloadObserved)
def take_in_listing(event: WorkloadObserved) -> None:
    """Runs in the watcher: the listing pod ended."""
    if event.workload_kind == "workspace" and not event.deleted and event.workload_uid.isdecimal():
        listing.finish(workspace_id=int(event.workload_uid), pod=event.manifest)


@subscribe(ListingChanged)
def tell_browsers(event: ListingChanged) -> None:
    push(f"project.{event.project_id}.jobs", {"type": "workspace.changed"})
