from django.urls import path

from . import views

app_name = "metrics"
urlpatterns = [path("jobs/<uuid:uid>/", views.JobUsage.as_view(), name="of_job")]
