from rest_framework.routers import SimpleRouter

from .views import BackfillViewSet, ProjectScheduleViewSet, ScheduleViewSet, SlotViewSet

router = SimpleRouter()
router.register(r"projects/(?P<project>[a-z0-9-]+)/schedules", ProjectScheduleViewSet, basename="project-schedule")
router.register("schedules", ScheduleViewSet, basename="schedule")
router.register("slots", SlotViewSet, basename="slot")
router.register("backfills", BackfillViewSet, basename="backfill")
urlpatterns = router.urls
