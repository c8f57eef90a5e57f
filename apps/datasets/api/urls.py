from rest_framework.routers import SimpleRouter

from .views import WorkspaceViewSet

router = SimpleRouter()
router.register(r"projects/(?P<project>[a-z0-9-]+)/workspace", WorkspaceViewSet, basename="workspace")
urlpatterns = router.urls
