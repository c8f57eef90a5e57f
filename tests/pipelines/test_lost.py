"""Runs whose message died with a worker are found in seconds, each once in a while."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.jobs.choices import JobStatus
from apps.jobs.models import Job
from apps.pipelines import services, sweep, tasks
from apps.pipelines.models import Run

from .conftest import fresh

pytestmark = pytest.mark.django_db
LATE = sweep.LATE + timedelta(seconds=1)


@pytest.fixture
def unbegun(make_pipeline, cluster):
    """A run that nobody was told of, of that age."""

    def make(age=LATE):
        (run,) = services.start_runs([services.NewRun(pipeline=make_pipeline(a={}))])
        Run.objects.filter(pk=run.pk).update(updated_at=timezone.now() - age)
        return run

    return make


class TestAdvanceLost:
    def test_begins_a_run_whose_message_was_lost(self, unbegun):
        run = unbegun()

        tasks.advance_lost()

        assert fresh(run).status == "running"
        assert Job.objects.count() == 1

    def test_leaves_a_fresh_run_to_its_own_message(self, unbegun):
        run = unbegun(age=timedelta())

        tasks.advance_lost()

        assert fresh(run).status == "queued"

    def test_goes_on_with_a_run_whose_job_has_ended_unheard(self, unbegun):
        run = unbegun()
        tasks.advance_run(run_id=run.pk)
        Job.objects.update(status=JobStatus.SUCCEEDED, updated_at=timezone.now() - LATE)

        tasks.advance_lost()

        assert fresh(run).status == "succeeded"

    def test_names_a_run_once_in_a_while(self, unbegun):
        run = unbegun()

        assert [sweep.find_lost(limit=10), sweep.find_lost(limit=10)] == [[run.pk], []]

    def test_names_no_more_than_it_is_asked_for(self, unbegun, make_pipeline):
        first = unbegun()
        second, third = (services.start_run(pipeline=first.pipeline, actor=None) for _ in range(2))
        Run.objects.update(updated_at=timezone.now() - LATE)

        assert [sweep.find_lost(limit=2), sweep.find_lost(limit=2)] == [[first.pk, second.pk], [third.pk]]

    def test_costs_two_queries_where_nothing_is_lost(self, unbegun, django_assert_num_queries):
        unbegun(age=timedelta())

        with django_assert_num_queries(2):
            tasks.advance_lost()
