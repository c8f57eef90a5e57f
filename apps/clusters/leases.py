"""One holder per cluster and purpose, kept in the database that everybody shares anyway.

A holder renews by acquiring again, well before the lease runs out; a dead one is replaced when it has. Hosts are
expected to agree on the time to within a few seconds, so leases last much longer than that.
"""

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from .models import Cluster, Lease


def acquire(cluster: Cluster | int, purpose: str, holder: str, seconds: float) -> bool:
    """Take or renew the lease for `seconds`; False when somebody else holds it. Never waits.

    One conditional UPDATE decides, or one INSERT the database's unique constraint lets through: no read comes before
    the write, so that two holders cannot both win, on SQLite as on PostgreSQL.
    """
    now = timezone.now()
    values = {"holder": holder, "expires_at": now + timedelta(seconds=seconds)}
    key = {"cluster_id": cluster if isinstance(cluster, int) else cluster.pk, "purpose": purpose}
    free = Q(holder=holder) | Q(expires_at__lte=now)
    if Lease.objects.filter(free, **key).update(**values):
        return True
    if Lease.objects.filter(**key).exists():
        return False
    try:
        with transaction.atomic():
            Lease.objects.create(**key, **values)
    except IntegrityError:  # Somebody was quicker, or the cluster is gone.
        return False
    return True


def release(cluster: Cluster | int, purpose: str, holder: str) -> None:
    """Give the lease up at once, if `holder` still has it."""
    cluster_id = cluster if isinstance(cluster, int) else cluster.pk
    Lease.objects.filter(cluster_id=cluster_id, purpose=purpose, holder=holder).delete()
