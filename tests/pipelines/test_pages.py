"""The pages of pipelines: the list, one pipeline, its versions, copies and files."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from apps.pipelines import services
from apps.pipelines.graph import documents
from apps.pipelines.models import Pipeline, Run
from apps.pipelines.overview import SQUARES, lately
from apps.projects.roles import Role
from apps.projects.services import set_role
from tests.factories import ProjectFactory


def at(name, project, **kwargs):
    return reverse(f"pipelines:{name}", kwargs={"project": project.slug, **kwargs})


@pytest.fixture
def start(member):
    def make(pipeline, **more):
        return services.start_run(pipeline=pipeline, actor=member, **more)

    return make


class TestList:
    def test_shows_the_projects_own_pipelines_to_its_members_only(
        self, client, project, viewer, outsider, make_pipeline
    ):
        make_pipeline("digits")

        assert client.get(at("list", project)).status_code == 302
        client.force_login(outsider)
        assert client.get(at("list", project)).status_code == 404
        client.force_login(viewer)
        page = client.get(at("list", project)).content.decode()
        assert "digits" in page
        assert at("create", project) not in page

    def test_costs_the_same_for_one_pipeline_and_for_many(
        self, client, project, member, make_pipeline, start, django_assert_num_queries, django_assert_max_num_queries
    ):
        start(make_pipeline("first"))
        client.force_login(member)

        with django_assert_max_num_queries(14) as one:
            client.get(at("list", project))
        for number in range(4):
            pipeline = make_pipeline(f"more-{number}")
            for _ in range(3):
                start(pipeline)
        with django_assert_num_queries(len(one)):
            client.get(at("list", project))

    def test_finds_by_name_and_keeps_the_archived_apart(self, client, project, member, make_pipeline):
        make_pipeline("digits"), make_pipeline("faces")
        services.set_archived(pipeline=make_pipeline("old digits"), archived=True, actor=member)
        client.force_login(member)

        def names(**query):
            rows = client.get(at("list", project), query).context["rows"]
            return [row.pipeline.name for row in rows]

        assert names() == ["digits", "faces"]
        assert names(search="DIG") == ["digits"]
        assert names(archived="on") == ["old digits"]

    def test_an_empty_list_says_what_to_do_next(self, client, project, member, viewer):
        client.force_login(member)
        assert at("create", project) in client.get(at("list", project)).content.decode()
        client.force_login(viewer)
        assert "Developers of this project draw pipelines" in client.get(at("list", project)).content.decode()


class TestLately:
    def test_the_newest_runs_in_their_order(self, make_pipeline, start):
        busy, quiet = make_pipeline("busy"), make_pipeline("quiet")
        runs = [start(busy) for _ in range(SQUARES + 3)]

        rows = lately([quiet, busy])

        assert [run.pk for run in rows[0].runs] == []
        assert [run.pk for run in rows[1].runs] == [run.pk for run in runs[-SQUARES:]]
        assert rows[1].last == runs[-1]


class TestCreate:
    def test_a_name_is_enough(self, client, project, member):
        client.force_login(member)

        answer = client.post(at("create", project), {"name": "digits", "description": ""})

        pipeline = Pipeline.objects.get(name="digits")
        assert answer.url == at("edit", project, uid=pipeline.uid)
        assert pipeline.versions.count() == 0

    def test_a_file_becomes_its_first_version(self, client, project, member, template_version):
        client.force_login(member)
        file = SimpleUploadedFile("flow.yaml", b"tasks: {a: {template: echo}}")

        client.post(at("create", project), {"name": "digits", "file": file})

        assert list(Pipeline.objects.get().versions.get().graph["tasks"]) == ["a"]

    @pytest.mark.parametrize("text", [b"tasks: [", b"tasks: {a: {template: none}}", b"\xff\xfe", b"tasks: {}"])
    def test_a_bad_file_marks_the_field_and_makes_nothing(self, client, project, member, text):
        client.force_login(member)

        answer = client.post(at("create", project), {"name": "x", "file": SimpleUploadedFile("flow.yaml", text)})

        assert answer.status_code == 422
        assert answer.context["form"].errors["file"]
        assert not Pipeline.objects.exists()

    def test_a_taken_name_marks_the_field(self, client, project, member, make_pipeline):
        make_pipeline("digits")
        client.force_login(member)

        answer = client.post(at("create", project), {"name": "digits"})

        assert "name" in answer.context["form"].errors
        assert Pipeline.objects.count() == 1

    def test_is_for_those_who_edit(self, client, project, viewer):
        client.force_login(viewer)

        assert client.post(at("create", project), {"name": "digits"}).status_code == 403
        assert not Pipeline.objects.exists()


class TestDetail:
    def test_costs_the_same_for_one_run_and_for_many(
        self, client, project, member, make_pipeline, start, django_assert_num_queries, django_assert_max_num_queries
    ):
        pipeline = make_pipeline()
        start(pipeline)
        client.force_login(member)
        url = at("detail", project, uid=pipeline.uid)

        with django_assert_max_num_queries(16) as one:
            client.get(url)
        for number in range(5):
            start(pipeline)
            graph = {"tasks": {f"t{number}": {"template": "echo"}}}
            services.save_version(pipeline=pipeline, graph=graph, actor=member)
        with django_assert_num_queries(len(one)):
            client.get(url)

    def test_pages_by_keyset(self, client, project, member, make_pipeline, start):
        pipeline = make_pipeline()
        runs = [start(pipeline) for _ in range(27)]
        client.force_login(member)
        url = at("detail", project, uid=pipeline.uid)

        first = client.get(url)
        second = client.get(url, {"before": first.context["older"]})

        assert [run.pk for run in first.context["runs"]] == [run.pk for run in runs[:1:-1]]
        assert [run.pk for run in second.context["runs"]] == [run.pk for run in runs[1::-1]]
        assert second.context["older"] is None

    def test_its_script_is_given_the_runs_alone(self, client, project, member, make_pipeline, start):
        pipeline = make_pipeline()
        run = start(pipeline)
        client.force_login(member)

        answer = client.get(at("detail", project, uid=pipeline.uid), headers={"HX-Request": "true"})

        page = answer.content.decode()
        assert (at("run", project, uid=run.uid) in page, "<html" in page) == (True, False)

    def test_another_projects_pipeline_is_not_there(self, client, member, make_pipeline, project):
        other = ProjectFactory()
        set_role(project=other, user=member, role=Role.OWNER)
        client.force_login(member)

        assert client.get(at("detail", other, uid=make_pipeline().uid)).status_code == 404


class TestVersions:
    @pytest.fixture
    def pipeline(self, make_pipeline, member):
        made = make_pipeline(a={"title": "One"})
        second = {"tasks": {"a": {"template": "echo", "title": "Two"}, "b": {"template": "echo"}}}
        services.save_version(pipeline=made, graph=second, comment="second", actor=member)
        return made

    def test_differences_name_fields(self, client, project, viewer, pipeline):
        client.force_login(viewer)

        context = client.get(at("diff", project, uid=pipeline.uid)).context

        assert (context["before"].number, context["after"].number) == (1, 2)
        assert context["diff"].added == ["b"]
        assert [(c.path, c.before, c.after) for c in context["diff"].changes] == [("tasks.a.title", "One", "Two")]

    @pytest.mark.parametrize("number", ["0", "9", "x", "²", "-1"])
    def test_a_version_that_is_none_is_not_found(self, client, project, viewer, pipeline, number):
        client.force_login(viewer)

        assert client.get(at("diff", project, uid=pipeline.uid), {"to": number}).status_code == 404
        assert client.get(at("export", project, uid=pipeline.uid), {"version": number}).status_code == 404

    def test_an_export_reads_back_as_the_same_graph(self, client, project, viewer, pipeline):
        client.force_login(viewer)

        answer = client.get(at("export", project, uid=pipeline.uid), {"version": "1"})

        assert answer["Content-Disposition"] == 'attachment; filename="flow-v1.yaml"'
        assert documents.read_graph(answer.content.decode()) == pipeline.versions.get(number=1).graph

    def test_an_old_one_becomes_the_newest_again(self, client, project, member, pipeline):
        client.force_login(member)

        client.post(at("restore", project, uid=pipeline.uid), {"version": "1"})

        newest = pipeline.versions.first()
        assert (newest.number, newest.comment) == (3, "Version 1 again.")
        assert newest.digest == pipeline.versions.get(number=1).digest


class TestVerbs:
    def test_copies_to_a_project_where_the_person_may_edit(self, client, project, member, make_pipeline):
        other = ProjectFactory()
        set_role(project=other, user=member, role=Role.DEVELOPER)
        pipeline = make_pipeline()
        client.force_login(member)

        answer = client.post(at("copy", project, uid=pipeline.uid), {"target": other.slug, "name": "copied"})

        copy = Pipeline.objects.get(project=other)
        assert (copy.name, copy.versions.get().digest) == ("copied", pipeline.versions.get().digest)
        assert answer.url == at("detail", other, uid=copy.uid)

    def test_copies_nowhere_else(self, client, project, member, make_pipeline):
        other = ProjectFactory()
        set_role(project=other, user=member, role=Role.VIEWER)
        pipeline = make_pipeline()
        client.force_login(member)

        for target in (other.slug, "none", ""):
            answer = client.post(at("copy", project, uid=pipeline.uid), {"target": target, "name": "copied"})
            assert answer.status_code == 404
        assert Pipeline.objects.count() == 1

    def test_archives_and_takes_back(self, client, project, member, make_pipeline):
        pipeline = make_pipeline()
        client.force_login(member)

        client.post(at("archive", project, uid=pipeline.uid))
        assert Pipeline.objects.get().is_archived
        client.post(at("archive", project, uid=pipeline.uid), {"restore": "1"})
        assert not Pipeline.objects.get().is_archived

    def test_describes(self, client, project, member, make_pipeline):
        pipeline = make_pipeline()
        client.force_login(member)

        client.post(at("describe", project, uid=pipeline.uid), {"name": "renamed", "description": "About it."})

        pipeline.refresh_from_db()
        assert (pipeline.name, pipeline.description) == ("renamed", "About it.")

    @pytest.mark.parametrize("name", ["copy", "archive", "restore", "describe", "start"])
    def test_are_not_for_viewers(self, client, project, viewer, make_pipeline, name):
        pipeline = make_pipeline()
        client.force_login(viewer)

        assert client.post(at(name, project, uid=pipeline.uid)).status_code == 403
        assert (Pipeline.objects.count(), Run.objects.count()) == (1, 0)
        assert not Pipeline.objects.get().is_archived
