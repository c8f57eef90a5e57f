"""Every route of the portal. The API's are in `cube.api`."""

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.generic import RedirectView

from apps.accounts.views import SignOut
from cube import health
from cube.admin import door

handler404 = "apps.core.api.problems.not_found"
handler500 = "apps.core.api.problems.server_error"

urlpatterns = [
    path("", include("apps.portal.urls")),
    path("", include("apps.accounts.urls")),
    path("projects/", include("apps.projects.urls")),
    path("projects/<slug:project>/jobs/", include("apps.jobs.urls")),
    path("projects/<slug:project>/pipelines/", include("apps.pipelines.urls")),
    path("projects/<slug:project>/schedules/", include("apps.schedules.urls")),
    path("projects/<slug:project>/alerts/", include("apps.alerts.urls")),
    path("projects/<slug:project>/logs/", include("apps.logs.urls")),
    path("projects/<slug:project>/usage/", include("apps.metrics.urls")),
    path("projects/<slug:project>/workspace/", include("apps.datasets.urls")),
    path("projects/<slug:project>/templates/", include("apps.jobtemplates.urls")),
    path("api/v1/", include("cube.api")),
    path("admin/login/", door),
    path("admin/logout/", login_not_required(SignOut.as_view())),
    path("admin/password_change/", admin.site.admin_view(RedirectView.as_view(pattern_name="accounts:account"))),
    path("admin/", admin.site.urls),
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("metrics", health.metrics),
]
