from django.urls import path

from . import views

app_name = "alerts"
urlpatterns = [
    path("", views.IncidentList.as_view(), name="list"),
    path("incidents/<uuid:uid>/", views.IncidentDetail.as_view(), name="detail"),
    path("incidents/<uuid:uid>/snooze/", views.SnoozeIncident.as_view(), name="snooze"),
    path("incidents/<uuid:uid>/wake/", views.WakeIncident.as_view(), name="wake"),
    path("incidents/<uuid:uid>/close/", views.CloseIncident.as_view(), name="close"),
    path("rules/", views.RuleList.as_view(), name="rules"),
    path("rules/new/", views.NewRule.as_view(), name="new_rule"),
    path("rules/<uuid:uid>/", views.EditRule.as_view(), name="rule"),
    path("rules/<uuid:uid>/snooze/", views.SnoozeRule.as_view(), name="snooze_rule"),
    path("rules/<uuid:uid>/wake/", views.WakeRule.as_view(), name="wake_rule"),
    path("rules/<uuid:uid>/delete/", views.DeleteRule.as_view(), name="delete_rule"),
    path("channels/", views.ChannelList.as_view(), name="channels"),
    path("channels/new/", views.NewChannel.as_view(), name="new_channel"),
    path("channels/<uuid:uid>/", views.EditChannel.as_view(), name="channel"),
    path("channels/<uuid:uid>/test/", views.TestChannel.as_view(), name="test_channel"),
    path("channels/<uuid:uid>/delete/", views.DeleteChannel.as_view(), name="delete_channel"),
]
