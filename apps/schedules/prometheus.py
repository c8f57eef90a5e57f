"""The figures of schedules for Prometheus, read from rows by whichever web process is asked."""

from collections.abc import Iterator

from django.db.models import Count
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from . import selectors, tallies
from .choices import SlotStatus
from .clock import database_now
from .models import Slot, Tally

PREFIX = "cube_schedule_"


class Figures:
    """A Prometheus collector over the rows: three queries, nothing kept in the process."""

    def collect(self) -> Iterator[Metric]:
        counts = {(name, label): count for name, label, count in Tally.objects.values_list("name", "label", "count")}
        yield self._lag(counts)
        yield self._unrun(counts)
        words = "Times that wait because their run could not be started, each time it was tried."
        yield CounterMetricFamily(f"{PREFIX}launches_refused", words, value=counts.get((tallies.REFUSED, ""), 0.0))
        words = "Times that came and had a slot already."
        yield CounterMetricFamily(f"{PREFIX}duplicates_refused", words, value=counts.get((tallies.TWICE, ""), 0.0))
        yield self._waiting()
        due = selectors.next_due_at()
        overdue = max(0.0, (database_now() - due).total_seconds()) if due else 0.0
        yield GaugeMetricFamily(f"{PREFIX}overdue_seconds", "How long the longest due schedule has been due.", overdue)

    def _lag(self, counts: dict[tuple[str, str], float]) -> Metric:
        words = "From the moment a time is due to the transaction that starts its run."
        metric = HistogramMetricFamily(f"{PREFIX}lag_seconds", words)
        total, buckets = 0.0, []
        for bound in (*map(str, tallies.BOUNDS), "+Inf"):
            total += counts.get((tallies.LAG, bound), 0.0)
            buckets.append((bound, total))
        metric.add_metric([], buckets, counts.get((tallies.LAG_SUM, ""), 0.0))
        return metric

    def _unrun(self, counts: dict[tuple[str, str], float]) -> Metric:
        metric = CounterMetricFamily(f"{PREFIX}slots_unrun", "Times that were not run.", labels=["status", "reason"])
        for (name, label), count in counts.items():
            if name == tallies.UNRUN:
                metric.add_metric(label.split(":", 1), count)
        return metric

    def _waiting(self) -> Metric:
        metric = GaugeMetricFamily(f"{PREFIX}slots_waiting", "Times that wait, by the reason.", labels=["reason"])
        rows = Slot.objects.filter(status=SlotStatus.WAITING).order_by().values_list("reason").annotate(n=Count("pk"))
        for reason, number in rows:
            metric.add_metric([reason or "Queued"], number)
        return metric


def exposition() -> bytes:
    """The figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(Figures())
    return generate_latest(registry)
