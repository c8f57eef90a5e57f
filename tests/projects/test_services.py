import pytest

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput, NotAllowed
from apps.core.events import subscribe
from apps.projects import access, selectors, services
from apps.projects.choices import SecretKind
from apps.projects.events import MembershipChanged, ProjectCreated, SecretsChanged
from apps.projects.models import Membership, Project, ProjectSecret, ProjectUserObjectPermission
from apps.projects.roles import PERMISSIONS, Role
from tests.factories import UserFactory

heard: list[object] = []
subscribe(MembershipChanged, ProjectCreated, SecretsChanged)(heard.append)


@pytest.fixture(autouse=True)
def _nothing_heard_yet():
    heard.clear()


class TestCreateProject:
    def test_starts_with_an_owner(self, outsider, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            project = services.create_project(slug="vision", name=" Vision ", owner=outsider, actor=outsider)

        assert (project.slug, project.name) == ("vision", "Vision")
        assert access.permissions_in(outsider, project) == PERMISSIONS[Role.OWNER]
        assert heard == [MembershipChanged(project.pk, outsider.pk), ProjectCreated(project.pk)]
        assert [e.action for e in AuditEntry.objects.order_by("id")] == ["project.create", "project.set_role"]

    @pytest.mark.parametrize("slug", ["", "Vision", "a_b", "-a", "a" * 41, "new", "a/b", "é"])
    def test_refuses_a_bad_slug(self, outsider, slug):
        with pytest.raises(InvalidInput) as refusal:
            services.create_project(slug=slug, name="x", owner=outsider)

        assert list(refusal.value.fields) == ["slug"]
        assert not Project.objects.exists()

    def test_refuses_a_taken_slug(self, project, outsider):
        with pytest.raises(InvalidInput):
            services.create_project(slug=project.slug, name="x", owner=outsider)

        assert Project.objects.count() == 1


class TestRoles:
    @pytest.mark.parametrize("role", Role)
    @pytest.mark.parametrize("before", Role)
    def test_give_exactly_what_they_imply(self, project, owner, outsider, before, role):
        services.set_role(project=project, user=outsider, role=before)

        services.set_role(project=project, user=outsider, role=role)

        assert access.permissions_in(outsider, project) == PERMISSIONS[role]
        assert all(access.can(outsider, perm, project) == (perm in PERMISSIONS[role]) for perm in PERMISSIONS["owner"])

    def test_stay_in_their_project(self, project, owner):
        other = services.create_project(slug="other", name="Other", owner=UserFactory())

        assert access.permissions_in(owner, other) == frozenset()
        assert list(access.projects_for(owner)) == [project]

    def test_the_last_owner_cannot_step_down(self, project, owner):
        with pytest.raises(NotAllowed, match=r"is the last owner of .*Make somebody else an owner first\."):
            services.set_role(project=project, user=owner, role=Role.VIEWER, actor=owner)

        assert access.permissions_in(owner, project) == PERMISSIONS[Role.OWNER]

    def test_the_last_owner_cannot_leave(self, project, owner, member):
        with pytest.raises(NotAllowed):
            services.remove_member(project=project, user=owner, actor=owner)

        assert Membership.objects.get(user=owner).role == Role.OWNER
        assert access.can(owner, "manage_members", project)

    def test_an_inactive_owner_does_not_count(self, project, owner):
        second = UserFactory()
        services.set_role(project=project, user=second, role=Role.OWNER)
        second.is_active = False
        second.save()

        with pytest.raises(NotAllowed):
            services.remove_member(project=project, user=owner)

    def test_with_a_second_owner_the_first_may_leave(self, project, owner, member):
        services.set_role(project=project, user=member, role=Role.OWNER)

        services.remove_member(project=project, user=owner, actor=owner)

        assert not access.projects_for(owner).exists()
        assert not Membership.objects.filter(user=owner).exists()

    @pytest.mark.parametrize("role", ["", "root", "OWNER"])
    def test_there_are_no_others(self, project, outsider, role):
        with pytest.raises(InvalidInput):
            services.set_role(project=project, user=outsider, role=role)

        assert not access.projects_for(outsider).exists()


class TestSecrets:
    def test_are_encrypted_and_versioned(self, project, owner, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            services.set_secret(project=project, name="hub", data={"A": "open-sesame"}, actor=owner)
            secret = services.set_secret(project=project, name="hub", data={"B": "2", "C": ""}, actor=owner)

        stored = ProjectSecret.objects.values("keys", "version").get()
        assert stored == {"keys": ["B", "C"], "version": 2}
        assert ProjectSecret.objects.get().data == {"B": "2", "C": ""}
        raw = ProjectSecret.objects.raw("SELECT id, name, data AS cipher FROM projects_projectsecret")[0]
        assert raw.cipher != "2"
        assert raw.cipher.startswith("gAAAA")
        assert heard == [SecretsChanged(project.pk)] * 2
        assert "open-sesame" not in str(list(AuditEntry.objects.values()))
        services.delete_secret(secret=secret, actor=owner)
        assert not ProjectSecret.objects.exists()

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"name": "A b"}, "name"),
            ({"data": {}}, "data"),
            ({"data": {"1A": "x"}}, "data.1A"),
            ({"data": {"a-b": "x"}}, "data.a-b"),
            ({"data": {"A\n": "x"}}, "data.A\n"),
            ({"data": {"A": 5}}, "data.A"),
            ({"data": {"A": "x\x00"}}, "data.A"),
            ({"data": {"A": "\ud800"}}, "data.A"),
            ({"data": {f"K{n}": "x" for n in range(65)}}, "data"),
            ({"data": {"A": "x" * (256 * 1024)}}, "data"),
            ({"kind": "odd"}, "kind"),
            ({"kind": "registry", "data": {"server": "r.example", "username": "u"}}, "data.password"),
            (
                {"kind": "registry", "data": {"server": "https://r", "username": "u", "password": "p"}},
                "data.server",
            ),
        ],
    )
    def test_refuse_what_no_job_could_use(self, project, asked, field):
        with pytest.raises(InvalidInput) as refusal:
            services.set_secret(**{"project": project, "name": "hub", "data": {"A": "1"}, **asked})

        assert list(refusal.value.fields) == [field]
        assert not ProjectSecret.objects.exists()

    def test_hold_registry_credentials(self, project):
        data = {"server": "registry.example.com:5000/team", "username": "u", "password": "p"}

        secret = services.set_secret(project=project, name="hub", kind=SecretKind.REGISTRY, data=data)

        assert secret.data == data
        with pytest.raises(InvalidInput):
            services.set_secret(project=project, name="hub", data={"A": "1"})

    def test_are_listed_without_reading_values(self, project, settings):
        services.set_secret(project=project, name="hub", data={"A": "1"})
        settings.CUBE_ENCRYPTION_KEYS = ["M" * 43 + "="]  # The old key is lost.

        assert [(s.name, s.keys) for s in selectors.secrets_of(project)] == [("hub", ["A"])]
        services.set_secret(project=project, name="hub", data={"A": "2"})
        assert ProjectSecret.objects.get().data == {"A": "2"}


class TestProjectsOf:
    def test_tells_role_and_permissions_in_few_queries(self, owner, project, django_assert_max_num_queries):
        for n in range(5):
            other = services.create_project(slug=f"p{n}", name="P", owner=UserFactory())
            services.set_role(project=other, user=owner, role=Role.VIEWER)

        with django_assert_max_num_queries(5):
            found = selectors.projects_of(owner)

        assert {p.slug: p.role for p in found} == {
            project.slug: "owner",
            **{f"p{n}": "viewer" for n in range(5)},
        }
        assert {p.slug: p.permissions for p in found}["p1"] == PERMISSIONS[Role.VIEWER]
        assert {p.slug: p.permissions for p in found}[project.slug] == PERMISSIONS[Role.OWNER]

    def test_an_auditor_reads_all_and_does_nothing(self, project):
        auditor = UserFactory(platform_role="auditor")

        [found] = selectors.projects_of(auditor)

        assert (found.slug, found.role, found.permissions) == (project.slug, "", frozenset({"view_project"}))


class TestRenewGrants:
    def test_gives_members_what_their_role_has_come_to_imply(self, project, member, viewer):
        ProjectUserObjectPermission.objects.filter(user=member, permission__codename="run_pipeline").delete()

        assert services.renew_grants() == 1
        assert access.permissions_in(member, project) == PERMISSIONS[Role.DEVELOPER]
        assert access.permissions_in(viewer, project) == PERMISSIONS[Role.VIEWER]
        assert services.renew_grants() == 0
