from django.urls import path

from .views import Me, MemberViewSet, ProjectDetailViewSet, ProjectsViewSet, SecretViewSet

urlpatterns = [
    path("me/", Me.as_view(), name="me"),
    path("projects/", ProjectsViewSet.as_view({"get": "list", "post": "create"}), name="project-list"),
    path(
        "projects/<slug:project>/",
        ProjectDetailViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="project-detail",
    ),
    path("projects/<slug:project>/members/", MemberViewSet.as_view({"get": "list"}), name="project-member-list"),
    path(
        "projects/<slug:project>/members/<str:username>/",
        MemberViewSet.as_view({"put": "update", "delete": "destroy"}),
        name="project-member-detail",
    ),
    path("projects/<slug:project>/secrets/", SecretViewSet.as_view({"get": "list"}), name="project-secret-list"),
    path(
        "projects/<slug:project>/secrets/<str:name>/",
        SecretViewSet.as_view({"put": "update", "delete": "destroy"}),
        name="project-secret-detail",
    ),
]
