from django.urls import path

from . import fragments, views

app_name = "schedules"
urlpatterns = [
    path("", views.ScheduleList.as_view(), name="list"),
    path("new/", views.NewSchedule.as_view(), name="new"),
    path("preview/", views.TimetablePreview.as_view(), name="preview"),
    path("of/runs/<uuid:uid>/", fragments.OfRun.as_view(), name="of_run"),
    path("of/pipelines/<uuid:uid>/", fragments.OfPipeline.as_view(), name="of_pipeline"),
    path("<uuid:uid>/", views.ScheduleDetail.as_view(), name="detail"),
    path("<uuid:uid>/edit/", views.EditSchedule.as_view(), name="edit"),
    path("<uuid:uid>/pause/", views.Pause.as_view(), name="pause"),
    path("<uuid:uid>/resume/", views.Resume.as_view(), name="resume"),
    path("<uuid:uid>/delete/", views.Delete.as_view(), name="delete"),
    path("<uuid:uid>/times/", views.ComingTime.as_view(), name="time"),
    path("<uuid:uid>/backfill/", views.NewBackfill.as_view(), name="backfill"),
    path("<uuid:uid>/backfill/preview/", views.BackfillPreview.as_view(), name="backfill_preview"),
    path("slots/<uuid:uid>/", views.SlotVerb.as_view(), name="slot"),
    path("backfills/<uuid:uid>/", views.BackfillDetail.as_view(), name="backfill_detail"),
    path("backfills/<uuid:uid>/move/", views.BackfillVerb.as_view(), name="backfill_move"),
]
