from django.urls import path

from . import views

app_name = "jobtemplates"
urlpatterns = [
    path("", views.TemplateGallery.as_view(), name="list"),
    path("<slug:template>/", views.TemplateDocs.as_view(), name="detail"),
]
