from django.urls import URLPattern

app_name = "jobtemplates"
urlpatterns: list[URLPattern] = []
