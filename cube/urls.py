"""Every route of the portal. The API's are in `cube.api`."""

from django.contrib import admin
from django.urls import include, path

from cube import health

handler404 = "apps.core.api.problems.not_found"
handler500 = "apps.core.api.problems.server_error"

urlpatterns = [
    path("", include("apps.portal.urls")),
    path("", include("apps.accounts.urls")),
    path("projects/", include("apps.projects.urls")),
    path("projects/<slug:project>/jobs/", include("apps.jobs.urls")),
    path("projects/<slug:project>/workspace/", include("apps.datasets.urls")),
    path("projects/<slug:project>/templates/", include("apps.jobtemplates.urls")),
    path("api/v1/", include("cube.api")),
    path("admin/", admin.site.urls),
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("metrics", health.metrics),
]
