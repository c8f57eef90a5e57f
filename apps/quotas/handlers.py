"""What happens to namespaces when a project changes."""

from apps.core.events import subscribe
from apps.projects.events import SecretsChanged

from . import tasks
from .models import TenantNamespace


@subscribe(SecretsChanged)
def enqueue_reconciliation(event: SecretsChanged) -> None:
    """Only where the project already lives: elsewhere its first job brings the secrets along."""
    places = TenantNamespace.objects.filter(project_id=event.project_id, cluster__is_enabled=True)
    for cluster_id in places.values_list("cluster_id", flat=True):
        tasks.reconcile_namespace.delay(project_id=event.project_id, cluster_id=cluster_id)
