from django.urls import path

from . import views

app_name = "projects"
urlpatterns = [
    path("<slug:project>/members/", views.Members.as_view(), name="members"),
    path("<slug:project>/members/<str:username>/role/", views.ChangeRole.as_view(), name="change_role"),
    path("<slug:project>/members/<str:username>/remove/", views.RemoveMember.as_view(), name="remove_member"),
    path("<slug:project>/secrets/", views.Secrets.as_view(), name="secrets"),
    path("<slug:project>/secrets/<str:name>/delete/", views.DeleteSecret.as_view(), name="delete_secret"),
    path("<slug:project>/settings/", views.Settings.as_view(), name="settings"),
]
