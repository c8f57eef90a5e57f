"""Every route of the REST API, version 1."""

from django.urls import include, path

urlpatterns = [
    path("", include("apps.accounts.api.urls")),
    path("", include("apps.alerts.api.urls")),
    path("", include("apps.clusters.api.urls")),
    path("", include("apps.datasets.api.urls")),
    path("", include("apps.jobtemplates.api.urls")),
    path("", include("apps.logs.api.urls")),
    path("", include("apps.jobs.api.urls")),
    path("", include("apps.metrics.api.urls")),
    path("", include("apps.pipelines.api.urls")),
    path("", include("apps.projects.api.urls")),
    path("", include("apps.schedules.api.urls")),
    path("", include("cube.docs")),
]
