"""The collectors' and shippers' figures for Prometheus, read from their reports by whichever web process is asked."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from . import health
from .models import CollectorReport, ShipReport

PREFIX = "cube_log_collector_"
SHIPPER_PREFIX = "cube_log_shipper_"
GAUGES = {
    "following": "Open log follows.",
    "waiting": "Containers whose turn to be followed has not come.",
    "polling": "Containers polled instead of followed.",
    "pending_bytes": "Bytes collected and not yet stored.",
    "lag_seconds": "How far storing is behind writing.",
    "budget_used": "Share of the cluster's request budget in use, 0 to 1.",
}
COUNTERS = {
    "requests": "Log requests sent to the cluster.",
    "reconnects": "Follows opened again after they were cut.",
    "gaps": "Gap rows written: places where lines are, or may be, missing.",
    "lines": "Lines stored.",
    "bytes": "Bytes stored.",
    "commits": "Commits to the log store.",
}
SHIPPER_GAUGES = {
    "pending_lines": "Lines stored and not yet shipped.",
    "lag_seconds": "Age of the oldest line that waits to be shipped.",
}
SHIPPER_COUNTERS = {
    "sent_records": "Records the sink took.",
    "sent_bytes": "Bytes the sink took.",
    "failures": "Requests that were made again.",
    "refused": "Requests the sink will never take, all or in part.",
}
Reported = Iterable[tuple[str, CollectorReport | ShipReport]]


class Reports:
    """A Prometheus collector over the rows: three queries, nothing kept in the process."""

    def collect(self) -> Iterator[Metric]:
        found = health.collections()
        reported = [(each.cluster.slug, each.report) for each in found if each.report is not None]
        up = GaugeMetricFamily(f"{PREFIX}up", "1 while a collector reports and has no problem.", labels=["cluster"])
        for each in found:
            up.add_metric([each.cluster.slug], 1.0 if each.state == "ok" else 0.0)
        yield up
        yield from _families(PREFIX, reported, GAUGES, COUNTERS)
        shippers = [(each.cluster.slug, each) for each in ShipReport.objects.select_related("cluster")]
        yield from _families(SHIPPER_PREFIX, shippers, SHIPPER_GAUGES, SHIPPER_COUNTERS)


def _families(prefix: str, reported: Reported, gauges: dict[str, str], counters: dict[str, str]) -> Iterator[Metric]:
    """The fields of each cluster's report, by name."""
    seen = GaugeMetricFamily(f"{prefix}reported_timestamp_seconds", "Time of the last report.", labels=["cluster"])
    for slug, report in reported:
        seen.add_metric([slug], report.at.timestamp())
    yield seen
    for family, names in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counters)):
        for name, words in names.items():
            metric = family(f"{prefix}{name}", words, labels=["cluster"])
            for slug, report in reported:
                metric.add_metric([slug], float(getattr(report, name)))
            yield metric


def exposition() -> bytes:
    """The figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(Reports())
    return generate_latest(registry)
