import pytest
from django.urls import reverse

from apps.jobs.choices import JobStatus, Reason
from apps.jobs.models import Job
from apps.projects.roles import Role
from apps.projects.services import set_role
from tests.factories import ClusterFactory, ProjectFactory, TemplateVersionFactory, UserFactory


@pytest.fixture
def many(db, member, project):
    """Makes `number` more projects of the member, each with a running and a finished job."""
    cluster, version = ClusterFactory(slug="default", is_default=True), TemplateVersionFactory()

    def make(number):
        for mine in [ProjectFactory() for _ in range(number)]:
            set_role(project=mine, user=member, role=Role.DEVELOPER)
            for status in (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.SUCCEEDED):
                Job.objects.create(
                    project=mine, name=f"job-{status}", cluster=cluster, template_version=version, status=status
                )

    return make


def queries(client, django_assert_max_num_queries, path):
    with django_assert_max_num_queries(60) as seen:
        assert client.get(path).status_code == 200
    return len(seen)


class TestHome:
    def test_shows_my_projects_jobs_and_clusters(self, client, member, many):
        many(2)
        client.force_login(member)

        answer = client.get(reverse("portal:home"))

        assert (answer.context["active"], answer.context["waiting"]) == (2, 2)
        assert len(answer.context["jobs"]) == 6
        assert "Healthy" in answer.content.decode()

    def test_counts_what_the_cluster_cannot_run_as_waiting(self, client, member, many):
        many(1)
        job = Job.objects.get(status=JobStatus.RUNNING)
        Job.objects.filter(pk=job.pk).update(status=JobStatus.STARTING, reason=Reason.UNSCHEDULABLE)
        client.force_login(member)

        answer = client.get(reverse("portal:home"))

        assert (answer.context["active"], answer.context["waiting"]) == (0, 2)

    def test_shows_nothing_of_other_projects(self, client, outsider, many):
        many(1)
        client.force_login(outsider)

        page = client.get(reverse("portal:home")).content.decode()

        assert "job-running" not in page
        assert "You are in no project yet" in page
        assert "outsider" in page

    def test_asks_the_same_number_of_queries_for_more_projects(
        self, client, member, many, django_assert_max_num_queries
    ):
        client.force_login(member)
        many(1)
        few = queries(client, django_assert_max_num_queries, "/")

        many(8)

        assert queries(client, django_assert_max_num_queries, "/") == few

    def test_a_stranger_signs_in_first(self, client, db):
        answer = client.get(reverse("portal:home"))

        assert answer.status_code == 302
        assert answer["Location"].startswith(reverse("accounts:sign_in"))


class TestShell:
    @staticmethod
    def entries(client, user, project):
        client.force_login(user)
        answer = client.get(reverse("jobs:list", args=[project.slug]))
        return [str(entry["label"]) for entry in answer.context["nav_items"]]

    def test_an_owner_is_offered_everything(self, client, project, owner):
        offered = self.entries(client, owner, project)

        assert offered[:6] == ["Submit a job", "Jobs", "Pipelines", "Schedules", "Alerts", "Log search"]
        assert offered[-3:] == ["Secrets", "Members", "Settings"]

    def test_a_viewer_is_offered_what_opens_for_them(self, client, project, viewer):
        offered = self.entries(client, viewer, project)

        assert not {"Submit a job", "Secrets", "Settings"} & set(offered)
        assert "Jobs" in offered

    def test_exactly_one_entry_is_where_we_are(self, client, project, member):
        client.force_login(member)

        items = client.get(reverse("jobs:submit", args=[project.slug])).context["nav_items"]

        assert [str(entry["label"]) for entry in items if entry["active"]] == ["Submit a job"]

    def test_the_switcher_lists_my_projects_alone(self, client, project, member):
        ProjectFactory(slug="not-mine")
        client.force_login(member)

        answer = client.get(reverse("portal:home"))

        assert [entry["slug"] for entry in answer.context["nav_projects"]] == [project.slug]
        assert answer.context["cube_version"]

    def test_an_auditor_sees_every_project(self, client, project):
        client.force_login(UserFactory(username="aud", platform_role="auditor"))

        answer = client.get(reverse("portal:home"))

        assert [entry["slug"] for entry in answer.context["nav_projects"]] == [project.slug]
