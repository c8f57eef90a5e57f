"""Every role at every verb, at the API and on the pages."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from apps.accounts.models import AuditEntry
from apps.core.api.pagination import NewestFirst
from apps.projects import access, services
from apps.projects.api.scoping import ProjectObjectViewSet, ProjectViewSet
from apps.projects.models import Membership, Project, ProjectSecret
from apps.projects.pages import ProjectPage
from apps.projects.roles import Role
from tests.factories import UserFactory

PEOPLE = ("outsider", "viewer", "member", "operator", "owner", "auditor", "quota_manager", "admin")


@pytest.fixture
def people(project, outsider, viewer, member, operator, owner):
    services.set_secret(project=project, name="hub", data={"API_KEY": "open-sesame"})
    return {
        "outsider": outsider,
        "viewer": viewer,
        "member": member,
        "operator": operator,
        "owner": owner,
        "auditor": UserFactory(platform_role="auditor"),
        "quota_manager": UserFactory(platform_role="quota_manager"),
        "admin": UserFactory(platform_role="platform_admin"),
    }


def api(user) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


READ = (404, 200, 200, 200, 200, 200, 200, 200)
API = [  # verb, path below the project, body, who gets what (in the order of PEOPLE)
    ("get", "", None, READ),
    ("patch", "", {"name": "Renamed"}, (404, 403, 403, 403, 200, 403, 403, 200)),
    ("get", "members/", None, READ),
    ("put", "members/newcomer/", {"role": "viewer"}, (404, 403, 403, 403, 200, 403, 403, 200)),
    ("delete", "members/{viewer}/", None, (404, 403, 403, 403, 204, 403, 403, 204)),
    ("get", "secrets/", None, READ),
    ("put", "secrets/new/", {"data": {"A": "1"}}, (404, 403, 403, 200, 200, 403, 403, 200)),
    ("delete", "secrets/hub/", None, (404, 403, 403, 204, 204, 403, 403, 204)),
    ("post", "secrets/", {}, (404, 405, 405, 405, 405, 405, 405, 405)),
]
PAGES = [
    ("get", "members/", None, READ),
    ("post", "members/", {"username": "newcomer", "role": "viewer"}, (404, 403, 403, 403, 302, 403, 403, 302)),
    ("post", "members/{viewer}/role/", {"role": "developer"}, (404, 403, 403, 403, 302, 403, 403, 302)),
    ("post", "members/{member}/remove/", {}, (404, 403, 302, 403, 302, 403, 403, 302)),
    ("get", "secrets/", None, READ),
    ("post", "secrets/", {"name": "new", "data": "A=1"}, (404, 403, 403, 302, 302, 403, 403, 302)),
    ("post", "secrets/hub/delete/", {}, (404, 403, 403, 302, 302, 403, 403, 302)),
    ("get", "settings/", None, (404, 403, 403, 403, 200, 403, 403, 200)),
    ("post", "settings/", {"name": "Renamed"}, (404, 403, 403, 403, 302, 403, 403, 302)),
]


def state() -> tuple:
    return (
        sorted(Project.objects.values_list("name", flat=True)),
        sorted(Membership.objects.values_list("user__username", "role")),
        sorted(ProjectSecret.objects.values_list("name", "version")),
    )


class TestMatrix:
    @pytest.mark.parametrize(("verb", "path", "body", "expected"), API, ids=lambda v: v if isinstance(v, str) else "")
    def test_api(self, people, project, verb, path, body, expected):
        self._try(api, "/api/v1", people, project, verb, path, body, expected)

    @pytest.mark.parametrize(("verb", "path", "body", "expected"), PAGES, ids=lambda v: v if isinstance(v, str) else "")
    def test_pages(self, people, project, verb, path, body, expected):
        def browser(user):
            client = Client()
            client.force_login(user)
            return client

        self._try(browser, "", people, project, verb, path, body, expected)

    @staticmethod
    def _try(client_of, prefix, people, project, verb, path, body, expected):
        from django.db import transaction

        UserFactory(username="newcomer")
        names = {name: user.username for name, user in people.items()}
        url = f"{prefix}/projects/{project.slug}/{path.format(**names)}"
        before, answers = state(), []
        for name in PEOPLE:
            client = client_of(people[name])
            with transaction.atomic():
                answer = getattr(client, verb)(url, body)
                changed = state() != before
                transaction.set_rollback(True)
            answers.append(answer.status_code)
            assert not (changed and answer.status_code >= 400), f"{name} was refused and still changed something"
            assert "open-sesame" not in answer.content.decode()
        assert dict(zip(PEOPLE, answers, strict=True)) == dict(zip(PEOPLE, expected, strict=True))


class TestProjectsApi:
    def test_me_tells_role_and_permissions(self, project, member):
        me = api(member).get("/api/v1/me/").json()

        assert me["projects"] == [
            {
                "slug": project.slug,
                "name": project.name,
                "role": "developer",
                "permissions": [
                    *("debug_job", "edit_alert_rule", "edit_pipeline", "edit_schedule", "run_pipeline"),
                    *("run_slot", "snooze_alert", "stop_job", "submit_job", "view_project"),
                ],
            }
        ]
        assert me["token"] is None

    def test_only_platform_admins_create(self, people):
        body = {"slug": "fresh", "name": "Fresh", "owner": people["member"].username}

        assert [api(people[who]).post("/api/v1/projects/", body).status_code for who in PEOPLE] == [403] * 7 + [201]
        assert access.can(people["member"], "manage_members", Project.objects.get(slug="fresh"))

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"slug": "UP", "name": "x"}, "slug"),
            ({"slug": "ok"}, "name"),
            ({"slug": "ok", "name": "x", "owner": "nobody"}, "owner"),
            ({"slug": "ok", "name": "x", "colour": "red"}, "colour"),
        ],
    )
    def test_says_which_field_is_wrong(self, people, body, field):
        answer = api(people["admin"]).post("/api/v1/projects/", body)

        assert answer.status_code == 400
        assert [e["field"] for e in answer.json()["errors"]] == [field]
        assert Project.objects.count() == 1

    def test_lists_only_what_one_sees(self, people, project):
        hidden = services.create_project(slug="hidden", name="Hidden", owner=people["outsider"])

        def seen(who):
            return {p["slug"] for p in api(people[who]).get("/api/v1/projects/").json()["results"]}

        assert seen("viewer") == {project.slug}
        assert seen("outsider") == {hidden.slug}
        assert seen("auditor") == {project.slug, hidden.slug}

    def test_the_slug_stays(self, people, project):
        answer = api(people["owner"]).patch(f"/api/v1/projects/{project.slug}/", {"slug": "other"})

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "slug"
        assert Project.objects.get().slug == project.slug

    def test_a_refusal_says_which_role_would_do(self, people, project):
        answer = api(people["viewer"]).put(f"/api/v1/projects/{project.slug}/secrets/x/", {"data": {"A": "1"}})

        assert answer.json()["detail"] == (
            f"This needs the role Operator or a higher one in {project.name}. An owner can give it."
        )

    def test_the_last_owner_is_told_why(self, people, project):
        url = f"/api/v1/projects/{project.slug}/members/{people['owner'].username}/"

        answers = [api(people["owner"]).put(url, {"role": "viewer"}), api(people["owner"]).delete(url)]

        assert [a.status_code for a in answers] == [403, 403]
        assert "last owner" in answers[0].json()["detail"]
        assert Membership.objects.get(user=people["owner"]).role == Role.OWNER

    def test_secrets_are_listed_by_name_and_key(self, people, project):
        [secret] = api(people["viewer"]).get(f"/api/v1/projects/{project.slug}/secrets/").json()["results"]

        assert (secret["name"], secret["kind"], secret["keys"], secret["version"]) == ("hub", "opaque", ["API_KEY"], 1)
        assert "data" not in secret

    def test_secret_errors_have_their_path(self, people, project):
        url = f"/api/v1/projects/{project.slug}/secrets/x/"

        answer = api(people["owner"]).put(url, {"data": {"a b": "1", "OK": "2"}})

        assert [e["field"] for e in answer.json()["errors"]] == ["data.a b"]
        assert ProjectSecret.objects.count() == 1


class TestPages:
    def browser(self, user):
        client = Client()
        client.force_login(user)
        return client

    def test_owners_see_controls_and_viewers_do_not(self, people, project):
        url = f"/projects/{project.slug}/members/"

        assert "Add member" in self.browser(people["owner"]).get(url).content.decode()
        page = self.browser(people["viewer"]).get(url).content.decode()
        assert "Add member" not in page
        assert "What each role may do" in page

    def test_leaving_leads_home(self, people, project):
        me = people["member"]

        answer = self.browser(me).post(f"/projects/{project.slug}/members/{me.username}/remove/")

        assert answer["Location"] == "/"
        assert not access.projects_for(me).exists()

    def test_says_at_the_field_what_is_wrong(self, people, project):
        browser = self.browser(people["owner"])

        unknown = browser.post(f"/projects/{project.slug}/members/", {"username": "nobody", "role": "viewer"})
        bad = browser.post(f"/projects/{project.slug}/secrets/", {"name": "x", "data": "a b=1"})
        registry = browser.post(
            f"/projects/{project.slug}/secrets/",
            {"kind": "registry", "name": "x", "server": "https://r", "username": "u", "password": "hunter2"},
        )

        assert [a.status_code for a in (unknown, bad, registry)] == [422] * 3
        assert unknown.context["form"].errors["username"] == ["There is no active user with this name."]
        assert "a b" in bad.context["form"].errors["data"][0]
        assert list(registry.context["form"].errors) == ["server"]
        assert "hunter2" not in registry.content.decode()
        assert ProjectSecret.objects.count() == 1

    def test_escape_hostile_names(self, people, project):
        services.update_project(project=project, name="<img src=x onerror=alert(1)>", description="")
        for page in ("members", "secrets", "settings"):
            html = self.browser(people["owner"]).get(f"/projects/{project.slug}/{page}/").content.decode()

            assert "<img src=x" not in html

    def test_cost_the_same_however_many_members(self, people, project, django_assert_max_num_queries):
        for _ in range(20):
            services.set_role(project=project, user=UserFactory(), role=Role.VIEWER)
        browser = self.browser(people["owner"])
        browser.get("/account/")

        with django_assert_max_num_queries(14):
            browser.get(f"/projects/{project.slug}/members/")


class TestDoorsFailClosed:
    def test_a_page_without_perm_answers_nobody(self, rf, project, owner):
        from django.core.exceptions import PermissionDenied
        from django.views.generic import TemplateView

        class Forgetful(ProjectPage, TemplateView):
            template_name = "404.html"

        request = rf.get("/")
        request.user = owner
        with pytest.raises(PermissionDenied):
            Forgetful.as_view()(request, project=project.slug)

    @pytest.mark.parametrize("door", [ProjectViewSet, ProjectObjectViewSet])
    def test_an_action_nobody_named_is_refused(self, rf, project, owner, door):
        from rest_framework.response import Response

        class Forgetful(door):
            queryset = ProjectSecret.objects.none()
            pagination_class = NewestFirst
            permission_classes = []  # Even so.

            def list(self, request, **kwargs):
                return Response("open")

        for user in (owner, UserFactory(is_superuser=True)):
            request = rf.get("/")
            request.user = user
            request._force_auth_user = user
            answer = Forgetful.as_view({"get": "list"})(request, project=project.slug)
            assert answer.status_code == 403

    def test_refusals_are_audited_with_the_project(self, people, project):
        api(people["viewer"]).patch(f"/api/v1/projects/{project.slug}/", {"name": "x"})

        entry = AuditEntry.objects.filter(outcome="refused").latest("id")
        assert (entry.actor, entry.action, entry.project_slug) == (
            people["viewer"],
            "refused PATCH project-detail",
            project.slug,
        )
