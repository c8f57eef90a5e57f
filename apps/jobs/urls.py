from django.urls import path

from . import views

app_name = "jobs"
urlpatterns = [
    path("", views.JobList.as_view(), name="list"),
    path("rows/", views.JobRows.as_view(), name="rows"),
    path("submit/", views.Submit.as_view(), name="submit"),
    path("preview/", views.Preview.as_view(), name="preview"),
    path("stop/", views.StopMany.as_view(), name="stop_many"),
    path("<uuid:uid>/", views.JobDetail.as_view(), name="detail"),
    path("<uuid:uid>/yaml/", views.JobYaml.as_view(), name="yaml"),
    path("<uuid:uid>/stop/", views.Stop.as_view(), name="stop"),
    path("<uuid:uid>/rerun/", views.Rerun.as_view(), name="rerun"),
    path("<uuid:uid>/debug/", views.Debug.as_view(), name="debug"),
    path("<uuid:uid>/terminal/", views.TerminalPage.as_view(), name="terminal"),
    path("<uuid:uid>/delete/", views.Delete.as_view(), name="delete"),
]
