"""Retention: what is old and finished goes, with a word in its place; nothing else does."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.accounts.roles import PlatformRole
from apps.logs import compaction, retention, selectors, store, tasks
from apps.logs.models import LogGap, LogGarbage, LogSegment, LogStream
from apps.projects.models import Project
from tests.factories import UserFactory

from .conftest import lines_of, record

pytestmark = pytest.mark.django_db


@pytest.fixture
def aged(make_stream):
    """A complete stream whose last line is that many days old."""

    def make(days, *, pod="p", is_complete=True):
        moment = timezone.now() - timedelta(days=days)
        stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.000000000Z".encode()
        lines = [record(n, b"line %d" % n)._replace(stamp=stamp) for n in range(3)]
        row = make_stream(lines, pod=pod, is_complete=is_complete)
        LogStream.objects.filter(pk=row.pk).update(updated_at=moment)
        row.refresh_from_db()
        return row

    return make


def keep(project, days):
    Project.objects.filter(pk=project.pk).update(log_retention_days=days)


class TestRemoval:
    def test_takes_finished_streams_past_the_limit_and_leaves_a_gap(self, aged, project, job):
        keep(project, 7)
        old, young = aged(8, pod="old"), aged(6, pod="young")
        name = LogSegment.objects.get(stream=old).name

        tasks.remove_expired()

        old.refresh_from_db()
        gap = LogGap.objects.get()
        assert lines_of(old) == []
        assert (old.kept_from, old.line_count) == (3, 3)
        assert (gap.stream, gap.ordinal, gap.cause, gap.bytes) == (old, 0, "retention", old.byte_count)
        assert (gap.since, gap.until) == (old.first_time, old.last_time)
        assert gap.text == f"Removed by retention on {timezone.now():%Y-%m-%d}."
        assert LogGarbage.objects.get().name == name
        assert len(lines_of(young)) == 3

    def test_keeps_what_is_not_finished(self, aged, project):
        keep(project, 7)
        running = aged(30, is_complete=False)

        assert retention.remove_expired() == 0
        assert len(lines_of(running)) == 3

    def test_follows_the_site_where_the_project_says_nothing(self, aged, project, settings):
        row = aged(10)
        assert retention.remove_expired() == 0
        settings.CUBE_LOG_RETENTION_DAYS = 11
        assert retention.remove_expired() == 0
        settings.CUBE_LOG_RETENTION_DAYS = 9
        keep(project, 20)
        assert retention.remove_expired() == 0
        assert len(lines_of(row)) == 3
        keep(project, None)

        assert retention.remove_expired() == 1
        assert lines_of(row) == []

    def test_happens_once(self, aged, project):
        keep(project, 1)
        aged(3)

        assert (retention.remove_expired(), retention.remove_expired()) == (1, 0)
        assert LogGap.objects.count() == 1

    def test_goes_on_past_a_batch(self, aged, project, monkeypatch):
        monkeypatch.setattr(retention, "BATCH", 2)
        keep(project, 1)
        rows = [aged(3, pod=f"p{number}") for number in range(5)]

        assert retention.remove_expired() == 5
        assert [lines_of(row) for row in rows] == [[]] * 5

    def test_leaves_a_pack_that_other_streams_use(self, aged, project):
        keep(project, 7)
        old, young = aged(8, pod="old"), aged(6, pod="young")
        shared = LogSegment.objects.get(stream=young).name
        LogSegment.objects.filter(stream=old).update(name=shared)

        retention.remove_expired()

        assert LogGarbage.objects.count() == 0
        assert len(lines_of(young)) == 3

    def test_lets_a_reader_finish(self, aged, project):
        keep(project, 1)
        source = selectors.source_of(aged(3))

        retention.remove_expired()

        assert len(list(store.iterate(source))) == 3

    def test_does_not_trust_a_node_whose_clock_is_in_the_past(self, aged, project):
        keep(project, 7)
        row = aged(30)
        LogStream.objects.filter(pk=row.pk).update(updated_at=timezone.now())

        assert retention.remove_expired() == 0

    def test_is_forgotten_by_shipping_and_joining(self, aged, project, job):
        keep(project, 1)
        row = aged(3)
        retention.remove_expired()

        assert selectors.unshipped_lines_on(job.cluster_id) == 0
        assert compaction.join_segments(stream_id=row.pk) is False


class TestTheJobPage:
    def test_says_that_and_when_the_log_was_removed(self, client, viewer, aged, project, job):
        client.force_login(viewer)
        keep(project, 1)
        job.status = "succeeded"
        job.save()
        url = f"/projects/{project.slug}/logs/jobs/{job.uid}/notices/"
        aged(3)
        assert client.get(url).content.strip() == b""

        retention.remove_expired()

        text = client.get(url).content.decode()
        assert "removed by retention on" in text
        assert str(timezone.now().year) in text


class TestTheSetting:
    def test_is_the_owners_on_the_settings_page(self, client, owner, operator, project):
        url = f"/projects/{project.slug}/settings/"
        form = {"name": "P", "description": "", "log_retention_days": "30"}
        client.force_login(operator)
        assert client.post(url, form).status_code == 403
        client.force_login(owner)

        assert client.post(url, form).status_code == 302
        project.refresh_from_db()
        assert project.log_retention_days == 30
        assert AuditEntry.objects.filter(action="project.update").latest("pk").detail["log_retention_days"] == 30
        assert client.post(url, {**form, "log_retention_days": "0"}).status_code == 422
        assert client.post(url, {**form, "log_retention_days": ""}).status_code == 302
        project.refresh_from_db()
        assert project.log_retention_days is None

    def test_is_in_the_api_and_stays_when_it_is_not_named(self, client, owner, project):
        client.force_login(owner)
        url = f"/api/v1/projects/{project.slug}/"

        answer = client.patch(url, {"log_retention_days": 14}, content_type="application/json")
        assert answer.json()["log_retention_days"] == 14
        client.patch(url, {"name": "New"}, content_type="application/json")
        project.refresh_from_db()
        assert (project.name, project.log_retention_days) == ("New", 14)
        refused = client.patch(url, {"log_retention_days": -1}, content_type="application/json")
        assert refused.status_code == 400
        client.patch(url, {"log_retention_days": None}, content_type="application/json")
        project.refresh_from_db()
        assert project.log_retention_days is None

    def test_is_in_the_console(self, client, project):
        client.force_login(UserFactory(platform_role=PlatformRole.PLATFORM_ADMIN))

        page = client.get(f"/admin/projects/project/{project.pk}/change/").content.decode()

        assert 'name="log_retention_days"' in page
