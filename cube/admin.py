"""The admin console as one product with the portal: where its menu leads, and what its first page says."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db.models import Count, Q, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.clusters.models import Cluster, Node
from apps.jobs.choices import ACTIVE, WAITING, JobStatus
from apps.jobs.models import Job

RECENT = timedelta(hours=24)
FAILURES_SHOWN = 8


def may_view(request: HttpRequest, model: str) -> bool:
    app_label, _dot, name = model.partition(".")
    return bool(request.user.has_perm(f"{app_label}.view_{name}"))


def entry(title: Any, icon: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model.replace('.', '_')}_changelist"),
        "permission": partial(may_view, model=model),
    }


NAVIGATION = [
    {
        "items": [
            {"title": _("Overview"), "icon": "dashboard", "link": reverse_lazy("admin:index")},
            {
                "title": _("Back to the portal"),
                "icon": "arrow_back",
                "link": reverse_lazy("portal:home"),
                "active": None,
            },
        ]
    },
    {
        "title": _("Work"),
        "items": [
            entry(_("Jobs"), "list_alt", "jobs.job"),
            entry(_("Pipelines"), "account_tree", "pipelines.pipeline"),
            entry(_("Runs"), "play_circle", "pipelines.run"),
            entry(_("Templates"), "dashboard_customize", "jobtemplates.jobtemplate"),
            entry(_("Template versions"), "history", "jobtemplates.templateversion"),
        ],
    },
    {
        "title": _("Alerts"),
        "items": [
            entry(_("Incidents"), "notifications_active", "alerts.incident"),
            entry(_("Rules"), "rule", "alerts.rule"),
            entry(_("Channels"), "send", "alerts.channel"),
            entry(_("Messages"), "outbox", "alerts.delivery"),
        ],
    },
    {
        "title": _("Capacity"),
        "items": [
            entry(_("Clusters"), "hub", "clusters.cluster"),
            entry(_("Resource groups"), "workspaces", "clusters.resourcegroup"),
            entry(_("Nodes"), "dns", "clusters.node"),
            entry(_("Namespaces"), "folder_copy", "quotas.tenantnamespace"),
        ],
    },
    {
        "title": _("Logs"),
        "items": [
            entry(_("Log collection"), "monitor_heart", "logs.collectorreport"),
            entry(_("Log gaps"), "broken_image", "logs.loggap"),
            entry(_("Log shipping"), "outbox", "logs.shipreport"),
            entry(_("Masking patterns"), "visibility_off", "logs.maskingpattern"),
        ],
    },
    {
        "title": _("People"),
        "items": [
            entry(_("Users"), "person", "accounts.user"),
            entry(_("Projects"), "stacks", "projects.project"),
            entry(_("Memberships"), "group", "projects.membership"),
            entry(_("API tokens"), "key", "accounts.apitoken"),
            entry(_("Secrets"), "lock", "projects.projectsecret"),
            entry(_("Audit trail"), "policy", "accounts.auditentry"),
            entry(_("Failed sign-ins"), "gpp_maybe", "axes.accessattempt"),
        ],
    },
]


@dataclass(frozen=True)
class ClusterLine:
    cluster: Cluster
    nodes: int
    ready: int
    gpus: int
    active: int
    waiting: int


def door(request: HttpRequest) -> HttpResponse:
    """There is one sign-in, the portal's. Whoever is signed in and is no staff learns nothing here."""
    if not request.user.is_staff:
        raise Http404
    return HttpResponseRedirect(reverse("admin:index"))


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Five queries, however much there is: clusters, their nodes, unfinished jobs, the last day, its failures."""
    since = timezone.now() - RECENT
    lines = _cluster_lines()
    lately = Job.objects.filter(finished_at__gte=since)
    ended = dict(lately.order_by().values_list("status").annotate(n=Count("pk")))
    failures = lately.filter(status=JobStatus.FAILED).select_related("project", "submitted_by").order_by("-id")
    jobs = reverse_lazy("admin:jobs_job_changelist")
    context |= {
        "title": _("Overview"),
        "clusters": lines,
        "failures": failures[:FAILURES_SHOWN],
        "figures": [
            {
                "label": _("Active"),
                "value": sum(line.active for line in lines),
                "url": f"{jobs}?status__in={','.join(sorted(ACTIVE))}",
            },
            {
                "label": _("Queued"),
                "value": sum(line.waiting for line in lines),
                "url": f"{jobs}?status__exact=queued",
            },
            {
                "label": _("Succeeded in 24 h"),
                "value": ended.get(JobStatus.SUCCEEDED, 0),
                "url": f"{jobs}?status__exact=succeeded",
            },
            {
                "label": _("Failed in 24 h"),
                "value": ended.get(JobStatus.FAILED, 0),
                "url": f"{jobs}?status__exact=failed",
                "is_bad": bool(ended.get(JobStatus.FAILED)),
            },
            {
                "label": _("Ready nodes"),
                "value": f"{sum(line.ready for line in lines)} / {sum(line.nodes for line in lines)}",
                "url": reverse_lazy("admin:clusters_node_changelist"),
                "is_bad": any(line.ready < line.nodes for line in lines),
            },
            {
                "label": _("Usable GPUs"),
                "value": sum(line.gpus for line in lines),
                "url": reverse_lazy("admin:clusters_node_changelist"),
            },
        ],
    }
    return context


def _cluster_lines() -> list[ClusterLine]:
    fit = Q(is_ready=True, is_schedulable=True)
    nodes = {
        row["cluster"]: row
        for row in Node.objects.order_by()
        .values("cluster")
        .annotate(all=Count("pk"), ready=Count("pk", filter=fit), gpus=Sum("gpu_count", filter=fit))
    }
    jobs: dict[int, dict[str, int]] = {}
    counted = Job.objects.unfinished().order_by().values_list("cluster", "status").annotate(n=Count("pk"))
    for cluster, status, number in counted:
        jobs.setdefault(cluster, {})[status] = number
    lines = []
    for cluster in Cluster.objects.defer("kubeconfig"):
        seen, work = nodes.get(cluster.pk, {}), jobs.get(cluster.pk, {})
        lines.append(
            ClusterLine(
                cluster=cluster,
                nodes=seen.get("all", 0),
                ready=seen.get("ready", 0),
                gpus=seen.get("gpus") or 0,
                active=sum(work.get(status, 0) for status in ACTIVE),
                waiting=sum(work.get(status, 0) for status in WAITING),
            )
        )
    return lines
