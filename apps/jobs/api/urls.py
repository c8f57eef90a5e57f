from rest_framework.routers import SimpleRouter

from .views import JobViewSet, ProjectJobViewSet

router = SimpleRouter()
router.register(r"projects/(?P<project>[a-z0-9-]+)/jobs", ProjectJobViewSet, basename="project-job")
router.register("jobs", JobViewSet, basename="job")
urlpatterns = router.urls
