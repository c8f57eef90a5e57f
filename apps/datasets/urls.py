from django.urls import path

from . import views

app_name = "datasets"
urlpatterns = [
    path("", views.WorkspacePage.as_view(), name="workspace"),
    path("refresh/", views.Refresh.as_view(), name="refresh"),
]
