from django.urls import path

from .views import JobLogViewSet, JobLogWithoutSlash

urlpatterns = [
    path("jobs/<uuid:uid>/logs/", JobLogViewSet.as_view({"get": "retrieve"}), name="job-logs"),
    path("jobs/<uuid:uid>/logs", JobLogWithoutSlash.as_view({"get": "retrieve"})),
]
