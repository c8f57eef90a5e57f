from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput, InvalidTransition
from apps.jobs import debugging, launching, services
from apps.jobs.choices import JobStatus
from apps.jobs.models import Job, Terminal

from .conftest import fresh


@pytest.fixture
def debug(member, django_capture_on_commit_callbacks):
    """A debug session of a job; `launch=True` also delivers what is announced."""

    def make(job, *, launch=False, **asked):
        with django_capture_on_commit_callbacks(execute=launch):
            return debugging.debug_job(job=job, actor=member, **asked)

    return make


@pytest.fixture
def session(submit, debug, world):
    """One that runs."""
    made = debug(submit(), launch=True)
    world.pod(made)
    return fresh(made)


def container(api, world, job):
    return api.objects[world.ref(job)]["spec"]["template"]["spec"]["containers"][0]


class TestDebugJob:
    def test_is_the_same_container_with_nothing_to_do(self, cluster, world, submit, debug):
        job = submit(launch=True)

        made = debug(job, launch=True, seconds=7200)

        theirs, ours = container(cluster, world, job), container(cluster, world, made)
        assert ours.pop("command") == ["sleep", "7200"]
        assert theirs.pop("command") == ["echo", "hi"]
        names = {"CUBE_JOB_UID", "CUBE_JOB_NAME"}  # it is a job of its own
        for one in (theirs, ours):
            one["env"] = [variable for variable in one["env"] if variable["name"] not in names]
        assert ours == theirs
        assert cluster.objects[world.ref(made)]["spec"]["activeDeadlineSeconds"] == 7200 + 3600

    def test_is_a_job_of_its_own_that_knows_what_it_debugs(self, submit, debug, member):
        job = submit(max_retries=3)

        made = debug(job)

        assert (made.name, made.is_debug, made.debug_of, made.max_retries) == ("train-debug", True, job, 0)
        assert made.time_limit_seconds == 3600
        assert made.events.get().text == "Started as a debug session of train."
        entry = AuditEntry.objects.get(action="job.debug")
        assert (entry.actor, entry.detail) == (member, {"uid": str(made.uid), "of": str(job.uid)})

    def test_asked_for_twice_it_is_one_session(self, submit, debug):
        job = submit()

        first = debug(job)

        assert debug(job, seconds=7200) == first
        assert debug(first) == first
        assert (first.debug_of, Job.objects.filter(is_debug=True).count()) == (job, 1)
        assert AuditEntry.objects.filter(action="job.debug").count() == 1

    def test_each_person_has_a_session_of_their_own(self, submit, debug, operator):
        job = submit()

        assert debug(job) != debugging.debug_job(job=job, actor=operator)

    @pytest.mark.parametrize("status", [JobStatus.STOPPING, JobStatus.STOPPED, JobStatus.SUCCEEDED])
    def test_of_one_that_ends_is_another_session_of_the_same_job(self, submit, debug, status):
        job = submit()
        first = debug(job)
        Job.objects.filter(pk=first.pk).update(status=status)

        again = debug(fresh(first))

        assert again != first
        assert (again.name, again.debug_of) == ("train-debug", job)

    def test_stays_idle_when_the_job_it_debugs_is_deleted(self, cluster, world, submit, debug, member, operator):
        job = submit()
        services.stop_job(job=job, actor=member)
        made = debug(job)

        services.delete_job(job=fresh(job), actor=operator)

        launching.launch_job(job_id=made.pk)
        assert container(cluster, world, fresh(made))["command"] == ["sleep", "3600"]

    @pytest.mark.parametrize("seconds", [0, 59, 8 * 3600 + 1])
    def test_refuses_a_time_without_sense(self, submit, debug, seconds):
        job = submit()

        with pytest.raises(InvalidInput) as refused:
            debug(job, seconds=seconds)

        assert [*refused.value.fields] == ["seconds"]
        assert Job.objects.count() == 1

    def test_is_not_rerun_as_if_it_were_a_job(self, submit, debug, member):
        made = debug(submit())

        with pytest.raises(InvalidTransition):
            services.rerun_job(job=made, actor=member)

        assert Job.objects.count() == 2

    def test_ends_when_its_time_is_up(self, session):
        assert session.ends_at == session.started_at + timedelta(hours=1)


class TestTerminals:
    def test_are_counted_and_told_to_the_audit_trail(self, session, member):
        terminal = debugging.open_terminal(job_id=session.pk, actor=member)

        debugging.close_terminal(terminal_id=terminal.pk, why="left")
        debugging.close_terminal(terminal_id=terminal.pk, why="left")

        entries = AuditEntry.objects.filter(action__startswith="terminal.").order_by("pk")
        assert [entry.action for entry in entries] == ["terminal.open", "terminal.close"]
        assert {entry.actor for entry in entries} == {member}
        assert entries[1].detail == {"uid": str(session.uid), "terminal": terminal.pk, "why": "left"}

    def test_are_four_at_most(self, session, member):
        opened = [debugging.open_terminal(job_id=session.pk, actor=member) for _ in range(4)]

        with pytest.raises(InvalidTransition):
            debugging.open_terminal(job_id=session.pk, actor=member)

        assert Terminal.objects.count() == 4
        debugging.close_terminal(terminal_id=opened[0].pk, why="left")
        debugging.open_terminal(job_id=session.pk, actor=member)

    def test_of_a_web_process_that_died_do_not_count_and_are_closed_by_the_sweep(self, session, member):
        lost = [debugging.open_terminal(job_id=session.pk, actor=member) for _ in range(4)]
        Terminal.objects.update(seen_at=timezone.now() - debugging.LOST_AFTER - timedelta(seconds=1))

        kept = debugging.open_terminal(job_id=session.pk, actor=member)

        assert debugging.close_lost_terminals() == 4
        assert [*Terminal.objects.filter(closed_at=None)] == [kept]
        assert not debugging.keep_terminal(terminal_id=lost[0].pk)
        assert debugging.keep_terminal(terminal_id=kept.pk)

    def test_need_a_session_that_runs(self, submit, debug, session, world, member):
        waiting, plain = debug(submit()), submit(launch=True)
        world.pod(plain, name="plain")
        world.conclude(session, "Complete")

        for job in (waiting, plain, session):
            with pytest.raises(InvalidTransition):
                debugging.open_terminal(job_id=job.pk, actor=member)

        assert fresh(plain).status == JobStatus.RUNNING
        assert Terminal.objects.count() == 0


class TestPages:
    def url(self, name, job):
        return reverse(f"jobs:{name}", kwargs={"project": job.project.slug, "uid": job.uid})

    def test_a_developer_starts_a_session_from_the_job_and_comes_to_its_terminal(self, submit, member, client):
        job = submit()
        client.force_login(member)
        assert self.url("debug", job) in client.get(self.url("detail", job)).content.decode()

        answer = client.post(self.url("debug", job), {"hours": "4"})

        made = Job.objects.get(is_debug=True)
        assert (answer.status_code, answer["Location"]) == (302, self.url("terminal", made))
        assert made.time_limit_seconds == 4 * 3600
        page = client.get(self.url("terminal", made))
        assert "echo hi" in page.content.decode()
        assert "style-src-attr 'unsafe-inline'" in page["Content-Security-Policy"]
        assert "style-src-attr" not in client.get(self.url("detail", made))["Content-Security-Policy"]

    def test_no_other_time_than_those_offered(self, submit, member, client):
        job = submit()
        client.force_login(member)

        answer = client.post(self.url("debug", job), {"hours": "9"})

        assert answer["Location"] == self.url("detail", job)
        assert Job.objects.count() == 1

    def test_a_viewer_neither_starts_nor_enters_one(self, submit, session, viewer, client):
        client.force_login(viewer)

        assert client.post(self.url("debug", session), {"hours": "1"}).status_code == 403
        assert client.get(self.url("terminal", session)).status_code == 403
        assert Job.objects.count() == 2

    def test_a_plain_job_has_no_terminal(self, submit, member, client):
        job = submit()
        client.force_login(member)

        assert client.get(self.url("terminal", job)).status_code == 404

    def test_the_head_alone_for_the_page_that_looks_again(self, session, member, client):
        client.force_login(member)

        answer = client.get(self.url("terminal", session), headers={"HX-Request": "true"})

        assert answer.content.decode().startswith('<div id="terminal-head"')

    def test_the_api_starts_one_as_well(self, submit, member, client):
        job = submit()
        client.force_login(member)

        answer = client.post(f"/api/v1/jobs/{job.uid}/debug/", {"seconds": 600}, content_type="application/json")
        too_long = client.post(f"/api/v1/jobs/{job.uid}/debug/", {"seconds": 28801}, content_type="application/json")

        assert answer.status_code == 201, answer.content
        body = answer.json()
        assert (body["is_debug"], body["debug_of"], body["time_limit_seconds"]) == (True, str(job.uid), 600)
        assert too_long.status_code == 400
        assert Job.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite lets one writer in at a time anyway")
def test_a_double_click_makes_one_session(submit, member):
    job = submit()

    def click(_number):
        try:
            return debugging.debug_job(job=job, actor=member).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(click, range(8)))

    assert made == set(Job.objects.filter(is_debug=True).values_list("pk", flat=True))
    assert len(made) == 1
