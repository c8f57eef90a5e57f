"""How collecting goes, cluster by cluster, from the collectors' own reports."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from apps.clusters.models import Cluster
from apps.jobs.selectors import clusters_in_use

from .models import CollectorReport

SILENT_AFTER = timedelta(seconds=30)  # six reports missed: longer than another collector needs to take over
LATE_SECONDS = 60.0


@dataclass(frozen=True)
class Collection:
    """One cluster's collecting. `state`: ok, problem, late, or silent (nobody reports)."""

    cluster: Cluster
    report: CollectorReport | None
    state: str

    @property
    def sentence(self) -> str:
        """What is wrong, for people; empty when all is well."""
        match self.state, self.report:
            case "silent", None:
                return _("No log collector has reported for this cluster yet.")
            case "silent", report:
                return _("The log collector has been silent since %(at)s.") % {
                    "at": f"{timezone.localtime(report.at):%Y-%m-%d %H:%M:%S}"
                }
            case "problem", report:
                return report.problem
            case "late", report:
                return _("Collecting is %(n)d seconds behind.") % {"n": report.lag_seconds}
        return ""


def collections() -> list[Collection]:
    """Every cluster that needs a collector, in two queries."""
    reports = {report.cluster_id: report for report in CollectorReport.objects.all()}
    clusters = clusters_in_use().defer("kubeconfig", "capabilities")
    return [Collection(each, reports.get(each.pk), state_of(reports.get(each.pk))) for each in clusters]


def collection_of(cluster: Cluster) -> Collection:
    report = CollectorReport.objects.filter(cluster=cluster).first()
    return Collection(cluster, report, state_of(report))


def state_of(report: CollectorReport | None) -> str:
    if report is None or report.at < timezone.now() - SILENT_AFTER:
        return "silent"
    if report.problem:
        return "problem"
    return "late" if report.lag_seconds > LATE_SECONDS else "ok"


def worst_state() -> str:
    """For a health check, which tells nothing about tenants."""
    found = {each.state for each in collections()}
    return next((state for state in ("silent", "problem", "late") if state in found), "ok")
