"""The OpenAPI schema and its page. Signed-in people only: the schema tells of every route."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.permissions import IsAuthenticated

from apps.accounts.api import schema  # noqa: F401  Importing it makes the scheme known, only where documents are made.

signed_in = {"permission_classes": [IsAuthenticated]}
urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(**signed_in), name="schema"),
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="schema", **signed_in), name="api-docs"),
]
