from django.urls import path

from . import views

app_name = "logs"
urlpatterns = [
    path("", views.LogSearch.as_view(), name="search"),
    path("jobs/<uuid:uid>/notices/", views.Notices.as_view(), name="notices"),
]
