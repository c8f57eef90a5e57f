from django.urls import path

from .search import LogSearchViewSet
from .views import JobLogViewSet

urlpatterns = [
    path("jobs/<uuid:uid>/logs/", JobLogViewSet.as_view({"get": "retrieve"}), name="job-logs"),
    path("projects/<slug:project>/logs/search/", LogSearchViewSet.as_view({"get": "list"}), name="project-log-search"),
]
