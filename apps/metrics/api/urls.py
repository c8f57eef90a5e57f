from django.urls import path

from .views import JobUsageViewSet

usage = JobUsageViewSet.as_view({"get": "retrieve"})
urlpatterns = [path("projects/<slug:project>/jobs/<uuid:uid>/usage/", usage, name="job-usage")]
