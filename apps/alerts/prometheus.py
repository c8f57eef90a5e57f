"""The figures of alerts for Prometheus, read from the indexes of what is open or on its way."""

from collections.abc import Iterator

from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily

from .choices import Condition, DeliveryStatus
from .models import Delivery, Incident

PREFIX = "cube_alerts_"


class Figures:
    """A Prometheus collector over the rows: two queries, nothing kept in the process."""

    def collect(self) -> Iterator[Metric]:
        rows = Incident.objects.open().order_by().values_list("condition").annotate(n=Count("pk"))
        counts = dict(rows)
        words = "Incidents that are not over."
        metric = GaugeMetricFamily(f"{PREFIX}incidents_open", words, labels=["condition"])
        for condition in Condition.values:
            metric.add_metric([condition], counts.get(condition, 0))
        yield metric
        pending = Delivery.objects.filter(status=DeliveryStatus.PENDING)
        found = pending.aggregate(n=Count("pk"), oldest=Min("created_at"))
        age = (timezone.now() - found["oldest"]).total_seconds() if found["oldest"] else 0.0
        yield GaugeMetricFamily(f"{PREFIX}messages_pending", "Messages that wait to be sent.", found["n"])
        yield GaugeMetricFamily(f"{PREFIX}messages_oldest_seconds", "How long the oldest of them has waited.", age)


def exposition() -> bytes:
    """The figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(Figures())
    return generate_latest(registry)
