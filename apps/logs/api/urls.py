from django.urls import path

from .views import JobLogViewSet

urlpatterns = [
    path("jobs/<uuid:uid>/logs/", JobLogViewSet.as_view({"get": "retrieve"}), name="job-logs"),
]
