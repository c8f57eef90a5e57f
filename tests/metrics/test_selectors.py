from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.jobs.models import Attempt
from apps.metrics import charts, selectors
from apps.metrics.models import AttemptUsage
from apps.metrics.selectors import Asked, Spread
from apps.metrics.templatetags.usage import amount

from .conftest import MIB, START, add_attempt, add_samples, after


def measure(attempt, **of_pods):
    """Samples by pod name, and the row the first of them opens."""
    for name, amounts in of_pods.items():
        add_samples(attempt.pods.get(name=name), *amounts)
    return AttemptUsage.objects.create(attempt=attempt, first_at=START, last_at=START)


class TestUsageOf:
    def test_is_what_was_measured_beside_what_was_asked_for(self, make_job):
        job = make_job("p0")
        measure(job.attempts.get(), p0=[(100, 10), (300, 30)])

        usage = selectors.usage_of(job)

        assert usage.cpu_millicores == Asked(request=500, limit=1000)
        assert usage.memory_bytes == Asked(request=64 * MIB, limit=256 * MIB)
        assert usage.figures.cpu_millicores == Spread(mean=200, p95=300, max=300)
        assert usage.figures.memory_bytes == Spread(mean=20 * MIB, p95=30 * MIB, max=30 * MIB)
        [curve] = usage.series
        assert (curve.pod, curve.kind, curve.rank) == ("p0", "pod", None)
        assert [(p.at, p.cpu_millicores, p.memory_bytes) for p in curve.points] == [
            (after(0), 100, 10 * MIB), (after(15), 300, 30 * MIB),
        ]  # fmt: skip

    def test_a_long_time_has_few_points_each_the_highest_of_its_part(self, make_job):
        job = make_job("p0")
        count = 1441  # six hours
        measure(job.attempts.get(), p0=[(n % 8, n) for n in range(count)])

        usage = selectors.usage_of(job)

        [curve] = usage.series
        assert usage.step_seconds == 120  # 21,600 s in 180 parts
        assert len(curve.points) == 181
        assert [p.cpu_millicores for p in curve.points[:3]] == [7, 7, 7]
        assert [p.memory_bytes // MIB for p in curve.points[:3]] == [7, 15, 23]
        assert curve.points[1].at - curve.points[0].at == timedelta(seconds=120)

    def test_of_many_pods_the_highest_and_the_mean(self, make_job):
        names = [f"p{n}" for n in range(9)]
        job = make_job(*names)
        measure(job.attempts.get(), **{name: [(100 * n, n)] for n, name in enumerate(names)})

        highest, mean = selectors.usage_of(job).series

        assert (highest.kind, mean.kind) == ("highest", "mean")
        assert [(p.cpu_millicores, p.memory_bytes) for p in highest.points] == [(800, 8 * MIB)]
        assert [(p.cpu_millicores, p.memory_bytes) for p in mean.points] == [(400, 4 * MIB)]

    def test_is_of_the_newest_attempt_or_of_a_named_one(self, make_job):
        job = make_job("p0")
        measure(job.attempts.get(), p0=[(100, 10)])
        measure(add_attempt(job, "p1", number=2), p1=[(200, 20)])

        newest, first = selectors.usage_of(job), selectors.usage_of(job, number=1)

        assert (newest.attempt.number, newest.figures.cpu_millicores.max) == (2, 200)
        assert [(a.number, f.cpu_millicores.max) for a, f in newest.others] == [(1, 100)]
        assert (first.attempt.number, [a.number for a, _ in first.others]) == (1, [2])
        with pytest.raises(Attempt.DoesNotExist):
            selectors.usage_of(job, number=3)

    def test_figures_outlive_samples(self, make_job):
        job = make_job("p0")
        row = AttemptUsage(attempt=job.attempts.get(), first_at=START, last_at=after(60), closed_at=timezone.now())
        row.cpu_millicores_max, row.samples_removed_at = 900, timezone.now()
        row.save()

        usage = selectors.usage_of(job)

        assert (usage.figures.cpu_millicores.max, usage.series) == (900, [])
        assert usage.samples_removed_at == row.samples_removed_at

    def test_costs_the_same_queries_however_much_there_is(self, make_job, django_assert_num_queries):
        job = make_job("p0")
        measure(job.attempts.get(), p0=[(100, 10)])
        with CaptureQueriesContext(connection) as one:
            selectors.usage_of(job)
        for n in range(2, 6):
            measure(add_attempt(job, "a", "b", number=n), a=[(1, 1)] * 30, b=[(2, 2)] * 30)

        with django_assert_num_queries(len(one)):
            selectors.usage_of(job)


class TestCharts:
    def draw(self, job, *, now=0):
        return charts.draw(selectors.usage_of(job), now=after(now))

    def test_stand_in_the_time_since_the_start_and_the_height_of_what_was_asked(self, make_job):
        job = make_job("p0")
        add_samples(job.attempts.get().pods.get(), (500, 64), (1000, 256), first=60, every=60)
        measure(job.attempts.get())

        drawing = self.draw(job)

        cpu, memory = drawing.charts
        assert drawing.seconds == 120
        assert (cpu.request_y, cpu.limit_y) == (53.7, 7.41)  # of 1080 millicores
        assert [part.points for part in cpu.curves[0].parts] == ["500.0,53.7 1000.0,7.41"]
        assert (memory.request_y, memory.limit_y) == (76.85, 7.41)
        assert (cpu.percent_of_request, cpu.curves[0].latest, cpu.curves[0].max) == (150, 1000, 1000)

    def test_leave_out_a_limit_that_is_far_away(self, make_job):
        job = make_job("p0")
        job.resources = {"cpu": "100m~8", "memory": "64Mi"}
        measure(job.attempts.get(), p0=[(50, 32)])

        cpu, memory = self.draw(job).charts

        assert (cpu.limit_y, cpu.request_y) == (None, 7.41)
        assert memory.limit_y is None  # It is the request.

    def test_have_a_gap_where_nobody_looked_and_a_dot_for_one_sample(self, make_job):
        job = make_job("p0")
        pod = job.attempts.get().pods.get()
        add_samples(pod, (0, 0), (0, 0))
        add_samples(pod, (0, 0), first=150)
        measure(job.attempts.get())

        [curve] = self.draw(job).charts[0].curves

        assert [part.points for part in curve.parts] == ["0.0,100.0 100.0,100.0", "1000.0,100.0 1000.0,100.0"]
        assert [(part.first_x, part.last_x) for part in curve.parts] == [(0.0, 100.0), (1000.0, 1000.0)]

    def test_reach_to_the_end_or_to_now_not_to_the_last_sample(self, make_job):
        job = make_job("p0")
        attempt = job.attempts.get()
        measure(attempt, p0=[(1, 1), (1, 1)])

        assert self.draw(job, now=600).seconds == 600
        assert self.draw(job, now=600).charts[0].curves[0].parts[0].last_x == 25.0
        Attempt.objects.filter(pk=attempt.pk).update(finished_at=after(120))
        assert self.draw(job, now=600).seconds == 120

    def test_of_nothing_there_is_none(self, make_job):
        assert self.draw(make_job("p0")) is None


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (3, "cores", "0.003 cores"),
        (320, "cores", "0.32 cores"),
        (1000, "cores", "1 core"),
        (1500, "cores", "1.5 cores"),
        (96_000, "cores", "96 cores"),
        (128_400, "cores", "128 cores"),
        (0, "bytes", "0 B"),
        (4096, "bytes", "4 KiB"),
        (22_155_264, "bytes", "21.1 MiB"),
        (256 * MIB, "bytes", "256 MiB"),
        (1023 * MIB + 900_000, "bytes", "1 GiB"),
    ],
)
def test_amounts_are_read_at_a_glance(number, unit, text):
    assert amount(number, unit) == text
