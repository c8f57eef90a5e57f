from rest_framework.routers import SimpleRouter

from .views import (
    ChannelViewSet,
    IncidentViewSet,
    ProjectChannelViewSet,
    ProjectIncidentViewSet,
    ProjectRuleViewSet,
    RuleViewSet,
)

PROJECT = r"projects/(?P<project>[a-z0-9-]+)"

router = SimpleRouter()
router.register(f"{PROJECT}/incidents", ProjectIncidentViewSet, basename="project-incident")
router.register(f"{PROJECT}/alert-rules", ProjectRuleViewSet, basename="project-alert-rule")
router.register(f"{PROJECT}/alert-channels", ProjectChannelViewSet, basename="project-alert-channel")
router.register("incidents", IncidentViewSet, basename="incident")
router.register("alert-rules", RuleViewSet, basename="alert-rule")
router.register("alert-channels", ChannelViewSet, basename="alert-channel")
urlpatterns = router.urls
