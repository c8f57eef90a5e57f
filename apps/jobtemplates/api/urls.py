from django.urls import path

from . import views

versions = "templates/<slug:template>/versions/"
urlpatterns = [
    path("templates/", views.TemplateViewSet.as_view({"get": "list"}), name="template-list"),
    path("templates/<slug:slug>/", views.TemplateViewSet.as_view({"get": "retrieve"}), name="template-detail"),
    path(versions, views.VersionViewSet.as_view({"get": "list", "post": "create"}), name="template-versions"),
    path(versions + "<int:number>/", views.VersionViewSet.as_view({"get": "retrieve"}), name="template-version"),
]
