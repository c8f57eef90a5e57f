import uuid

import pytest

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput, InvalidTransition
from apps.core.events import subscribe
from apps.pipelines import services
from apps.pipelines.choices import Launch, RunStatus
from apps.pipelines.events import PipelineSaved, RunsQueued
from apps.pipelines.models import Pipeline, Run, Version
from tests.factories import ProjectFactory

from .conftest import graph_of

heard: list[object] = []
subscribe(PipelineSaved, RunsQueued)(heard.append)


@pytest.fixture(autouse=True)
def _nothing_heard_yet():
    heard.clear()


class TestCreatePipeline:
    def test_saves_the_first_version_with_the_template_pinned(self, make_pipeline, member):
        pipeline = make_pipeline(a={"params": {"text": "hi"}})

        version = pipeline.versions.get()
        assert (version.number, version.task_count, version.author) == (1, 1, member)
        assert version.graph["tasks"] == {"a": {"template": "echo@1", "params": {"text": "hi"}}}
        assert [e.action for e in AuditEntry.objects.filter(action__startswith="pipeline.").order_by("id")] == [
            "pipeline.create",
            "pipeline.save",
        ]

    def test_refuses_a_name_twice_in_a_project(self, make_pipeline):
        make_pipeline("flow")

        with pytest.raises(InvalidInput) as refusal:
            make_pipeline("flow")

        assert list(refusal.value.fields) == ["name"]
        assert Pipeline.objects.count() == 1

    @pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
    def test_refuses_a_bad_name(self, make_pipeline, name):
        with pytest.raises(InvalidInput) as refusal:
            make_pipeline(name)

        assert list(refusal.value.fields) == ["name"]
        assert not Pipeline.objects.exists()

    def test_a_bad_graph_leaves_no_pipeline(self, make_pipeline):
        with pytest.raises(InvalidInput):
            make_pipeline(a={"needs": ["b"]})

        assert not Pipeline.objects.exists()


class TestSaveVersion:
    def test_counts_on(self, make_pipeline, member):
        pipeline = make_pipeline()

        version = services.save_version(pipeline=pipeline, graph=graph_of(c={}), comment="less", actor=member)

        assert (version.number, version.comment, pipeline.versions.count()) == (2, "less", 2)

    def test_what_equals_the_newest_is_the_newest(self, make_pipeline, member):
        pipeline = make_pipeline(a={})

        again = services.save_version(pipeline=pipeline, graph=graph_of(a={"trigger": "all_success"}), actor=member)

        assert again.number == pipeline.versions.count() == 1

    def test_notices_that_somebody_was_quicker(self, make_pipeline, member):
        pipeline = make_pipeline(a={})
        services.save_version(pipeline=pipeline, graph=graph_of(b={}), based_on=1, actor=member)

        with pytest.raises(services.EditedMeanwhile):
            services.save_version(pipeline=pipeline, graph=graph_of(c={}), based_on=1, actor=member)

        assert pipeline.versions.count() == 2

    def test_refuses_an_archived_pipeline(self, make_pipeline, member):
        pipeline = make_pipeline(a={})
        services.set_archived(pipeline=pipeline, archived=True, actor=member)

        with pytest.raises(InvalidTransition):
            services.save_version(pipeline=pipeline, graph=graph_of(b={}), actor=member)

        assert pipeline.versions.count() == 1

    def test_a_version_never_changes(self, make_pipeline):
        version = make_pipeline().versions.get()

        with pytest.raises(TypeError):
            version.save()


class TestCopyPipeline:
    def test_makes_a_first_version_elsewhere(self, make_pipeline, member):
        version, elsewhere = make_pipeline("flow").versions.get(), ProjectFactory()

        copy = services.copy_pipeline(version=version, project=elsewhere, actor=member)

        made = copy.versions.get()
        assert (copy.name, copy.project, made.number) == ("flow", elsewhere, 1)
        assert made.graph == version.graph


PARAMS = {"properties": {"day": {"type": "string", "default": "today"}, "n": {"type": "integer"}}, "required": ["n"]}


class TestStartRun:
    def test_queues_the_newest_version(self, make_pipeline, member, django_capture_on_commit_callbacks):
        pipeline = make_pipeline(graph={**graph_of(a={}), "params": PARAMS, "parallelism": 3})
        heard.clear()

        with django_capture_on_commit_callbacks():
            run = services.start_run(pipeline=pipeline, params={"n": 2}, trigger=Launch.API, actor=member)

        assert (run.status, run.trigger, run.parallelism) == (RunStatus.QUEUED, "api", 3)
        assert run.params == {"day": "today", "n": 2}
        assert (run.pipeline_version.number, run.started_by) == (1, member)
        assert AuditEntry.objects.filter(action="pipeline.run", actor=member).count() == 1

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"params": {}}, "params.n"),
            ({"params": {"n": "2"}}, "params.n"),
            ({"params": {"n": 1, "x": 1}}, "params.x"),
            ({"priority": 101}, "priority"),
        ],
    )
    def test_refuses_bad_input_by_field(self, make_pipeline, change, field):
        pipeline = make_pipeline(graph={**graph_of(a={}), "params": PARAMS})

        with pytest.raises(InvalidInput) as refusal:
            services.start_run(**{"pipeline": pipeline, "params": {"n": 1}, **change})

        assert list(refusal.value.fields) == [field]
        assert not Run.objects.exists()

    def test_the_same_uid_is_one_run(self, make_pipeline):
        pipeline, uid = make_pipeline(), uuid.uuid4()

        first, second = (services.start_run(pipeline=pipeline, uid=uid) for _ in range(2))

        assert first.pk == second.pk
        assert Run.objects.count() == 1

    def test_refuses_the_uid_of_another_pipeline(self, make_pipeline):
        uid = uuid.uuid4()
        services.start_run(pipeline=make_pipeline("one"), uid=uid)

        with pytest.raises(InvalidInput) as refusal:
            services.start_run(pipeline=make_pipeline("two"), uid=uid)

        assert list(refusal.value.fields) == ["uid"]

    def test_refuses_an_archived_pipeline(self, make_pipeline, member):
        pipeline = make_pipeline()
        pipeline = services.set_archived(pipeline=pipeline, archived=True, actor=member)

        with pytest.raises(InvalidInput) as refusal:
            services.start_run(pipeline=pipeline)

        assert list(refusal.value.fields) == ["pipeline"]

    def test_refuses_a_pipeline_without_a_version(self, project, member):
        pipeline = services.create_pipeline(project=project, name="empty", actor=member)

        with pytest.raises(InvalidInput) as refusal:
            services.start_run(pipeline=pipeline)

        assert list(refusal.value.fields) == ["pipeline"]


class TestStartRuns:
    def test_many_cost_as_many_queries_as_few(self, make_pipeline, django_assert_num_queries):
        pipelines = [make_pipeline(f"flow {n}") for n in range(12)]

        for count in (2, 12):
            news = [services.NewRun(pipeline=p, uid=uuid.uuid4()) for p in pipelines[:count]]
            with django_assert_num_queries(3):  # newest versions, twins, the rows: no savepoint
                runs = services.start_runs(news)
            assert [run.uid for run in runs] == [new.uid for new in news]
        assert Run.objects.count() == 14

    def test_one_event_tells_of_all_after_the_commit(self, make_pipeline, django_capture_on_commit_callbacks):
        pipeline = make_pipeline()
        heard.clear()

        with django_capture_on_commit_callbacks(execute=True):
            runs = services.start_runs([services.NewRun(pipeline=pipeline) for _ in range(3)])

        assert [type(event) for event in heard if isinstance(event, RunsQueued)] == [RunsQueued]
        assert heard[0] == RunsQueued(tuple(run.pk for run in runs), frozenset({pipeline.project_id}))

    def test_a_bad_one_is_named_and_nothing_is_made(self, make_pipeline):
        good, bad = make_pipeline("good"), make_pipeline("bad", graph={**graph_of(a={}), "params": PARAMS})

        with pytest.raises(InvalidInput) as refusal:
            services.start_runs([services.NewRun(pipeline=good), services.NewRun(pipeline=bad)])

        assert list(refusal.value.fields) == ["runs[1].params.n"]
        assert not Run.objects.exists()

    def test_known_uids_are_the_runs_they_were(self, make_pipeline):
        pipeline, uid = make_pipeline(), uuid.uuid4()
        before = services.start_run(pipeline=pipeline, uid=uid)

        known, made = services.start_runs(
            [services.NewRun(pipeline=pipeline, uid=uid), services.NewRun(pipeline=pipeline)]
        )

        assert known.pk == before.pk
        assert made.pk != before.pk
        assert Version.objects.count() == 1
