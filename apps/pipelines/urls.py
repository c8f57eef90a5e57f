from django.urls import path

from .views import editor, library, runs, steering

app_name = "pipelines"
urlpatterns = [
    path("", library.PipelineList.as_view(), name="list"),
    path("new/", library.Create.as_view(), name="create"),
    path("check/", editor.Check.as_view(), name="check"),
    path("panel/", editor.DrawPanel.as_view(), name="panel"),
    path("read/", editor.ReadPanel.as_view(), name="read"),
    path("compare/", runs.Compare.as_view(), name="compare"),
    path("<uuid:uid>/", library.PipelineDetail.as_view(), name="detail"),
    path("<uuid:uid>/edit/", editor.Editor.as_view(), name="edit"),
    path("<uuid:uid>/save/", editor.Save.as_view(), name="save"),
    path("<uuid:uid>/describe/", library.Describe.as_view(), name="describe"),
    path("<uuid:uid>/start/", runs.Start.as_view(), name="start"),
    path("<uuid:uid>/export/", library.Export.as_view(), name="export"),
    path("<uuid:uid>/diff/", library.Differences.as_view(), name="diff"),
    path("<uuid:uid>/copy/", library.Copy.as_view(), name="copy"),
    path("<uuid:uid>/archive/", library.Archive.as_view(), name="archive"),
    path("<uuid:uid>/restore/", library.Restore.as_view(), name="restore"),
    path("runs/<uuid:uid>/", runs.RunPage.as_view(), name="run"),
    path("runs/<uuid:uid>/task/", runs.TaskPanel.as_view(), name="task"),
    path("runs/<uuid:uid>/stop/", steering.Stop.as_view(), name="stop"),
    path("runs/<uuid:uid>/rerun/", steering.Rerun.as_view(), name="rerun"),
    path("runs/<uuid:uid>/clear/", steering.Clear.as_view(), name="clear"),
    path("runs/<uuid:uid>/mark/", steering.Mark.as_view(), name="mark"),
    path("runs/<uuid:uid>/ignore/", steering.Ignore.as_view(), name="ignore"),
    path("runs/<uuid:uid>/debug/", steering.DebugItem.as_view(), name="debug"),
]
