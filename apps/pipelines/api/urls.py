from rest_framework.routers import SimpleRouter

from .views import PipelineViewSet, ProjectPipelineViewSet, ProjectRunViewSet, RunViewSet

router = SimpleRouter()
router.register(r"projects/(?P<project>[a-z0-9-]+)/pipelines", ProjectPipelineViewSet, basename="project-pipeline")
router.register(r"projects/(?P<project>[a-z0-9-]+)/runs", ProjectRunViewSet, basename="project-run")
router.register("pipelines", PipelineViewSet, basename="pipeline")
router.register("runs", RunViewSet, basename="run")
urlpatterns = router.urls
