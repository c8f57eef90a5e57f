from django.urls import path

from .views import JobLogViewSet

log = JobLogViewSet.as_view({"get": "retrieve"})
urlpatterns = [
    path("jobs/<uuid:uid>/logs/", log, name="job-logs"),
    path("jobs/<uuid:uid>/logs", log),
]
