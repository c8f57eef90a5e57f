"""The admin console: who reads, who changes, and that verbs are the services' verbs."""

import pytest
from django.contrib import admin
from django.urls import NoReverseMatch, reverse

from apps.accounts import services
from apps.accounts.models import ApiToken, AuditEntry, User
from apps.projects import access
from apps.projects.models import Membership, Project, ProjectSecret
from apps.projects.roles import Role
from apps.projects.services import set_secret
from tests.factories import UserFactory

MODELS = sorted(admin.site._registry, key=lambda m: m._meta.label)


def staff(role):
    return UserFactory(username=role, platform_role=role)


def url(model, page, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.fixture
def boss(db, client):
    user = staff("platform_admin")
    client.force_login(user)
    return user


class TestAuditor:
    @pytest.mark.parametrize("model", MODELS, ids=lambda m: m._meta.label)
    def test_reads_everything_and_changes_nothing(self, model, project, owner, client):
        services.create_token(user=owner, name="ci")
        set_secret(project=project, name="hub", data={"A": "open-sesame"})
        client.force_login(staff("auditor"))
        row = model._default_manager.first()

        listed = client.get(url(model, "changelist"))
        assert listed.status_code == 200
        assert "open-sesame" not in listed.content.decode()
        assert client.get(url(model, "add")).status_code == 403
        if row is not None:
            shown = client.get(url(model, "change", row.pk))
            assert shown.status_code == 200
            assert "open-sesame" not in shown.content.decode()
            assert client.post(url(model, "change", row.pk), {}).status_code == 403
            assert client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
            assert model._default_manager.filter(pk=row.pk).exists()

    def test_may_not_use_actions(self, project, owner, client):
        token, _ = services.create_token(user=owner, name="ci")
        client.force_login(staff("auditor"))

        client.post(url(ApiToken, "changelist"), {"action": "revoke", "_selected_action": [token.pk]})
        client.post(url(User, "changelist"), {"action": "deactivate", "_selected_action": [owner.pk]})

        assert ApiToken.objects.usable().exists()
        assert User.objects.get(pk=owner.pk).is_active


class TestQuotaManager:
    @pytest.mark.parametrize("model", MODELS, ids=lambda m: m._meta.label)
    def test_changes_clusters_and_quotas_only(self, model, db, client):
        client.force_login(staff("quota_manager"))

        may = client.get(url(model, "add")).status_code == 200

        assert not may or model._meta.app_label in {"clusters", "quotas"}


class TestPeople:
    def test_platform_admins_make_accounts(self, boss, client):
        client.post(
            url(User, "add"),
            {"username": "ada", "usable_password": "true", "password1": "a good phrase", "password2": "a good phrase"},
        )

        made = User.objects.get(username="ada")
        assert made.check_password("a good phrase")
        assert AuditEntry.objects.get(action="user.create").actor == boss

    def test_a_role_goes_through_the_service(self, boss, client, outsider):
        client.post(url(User, "change", outsider.pk), {"username": "outsider", "platform_role": "auditor"})

        outsider.refresh_from_db()
        assert (outsider.platform_role, outsider.is_staff) == ("auditor", True)
        entry = AuditEntry.objects.get(action="user.set_platform_role")
        assert entry.detail == {"before": "", "after": "auditor"}

    def test_the_last_platform_admin_keeps_the_role(self, boss, client):
        client.post(url(User, "change", boss.pk), {"username": boss.username, "platform_role": ""})

        boss.refresh_from_db()
        assert boss.platform_role == "platform_admin"

    def test_a_platform_admin_cannot_become_superuser_or_touch_one(self, boss, client):
        root = UserFactory(username="root", is_superuser=True)

        client.post(
            url(User, "change", boss.pk),
            {"username": boss.username, "platform_role": "platform_admin", "is_superuser": "on"},
        )
        answer = client.post(
            reverse("admin:auth_user_password_change", args=[root.pk]),
            {"password1": "a good phrase", "password2": "a good phrase", "usable_password": "true"},
        )

        boss.refresh_from_db()
        root.refresh_from_db()
        assert not boss.is_superuser
        assert answer.status_code == 403
        assert not root.check_password("a good phrase")

    def test_passwords_are_set_and_audited(self, boss, client, outsider):
        client.post(
            reverse("admin:auth_user_password_change", args=[outsider.pk]),
            {"password1": "a good phrase", "password2": "a good phrase", "usable_password": "true"},
        )

        outsider.refresh_from_db()
        assert outsider.check_password("a good phrase")
        assert AuditEntry.objects.filter(action="user.change_password", actor=boss).count() == 1

    def test_deactivates_rather_than_deletes(self, boss, client, outsider):
        services.create_token(user=outsider, name="ci")

        client.post(url(User, "changelist"), {"action": "deactivate", "_selected_action": [outsider.pk, boss.pk]})

        outsider.refresh_from_db()
        boss.refresh_from_db()
        assert (outsider.is_active, boss.is_active) == (False, True)
        assert not ApiToken.objects.usable().exists()
        assert client.post(url(User, "delete", outsider.pk), {"post": "yes"}).status_code == 403

    def test_revokes_tokens(self, boss, client, outsider):
        token, _ = services.create_token(user=outsider, name="ci")

        client.post(url(ApiToken, "changelist"), {"action": "revoke", "_selected_action": [token.pk]})

        assert not ApiToken.objects.usable().exists()
        assert AuditEntry.objects.get(action="token.revoke").actor == boss


class TestProjects:
    def inline(self, *rows, initial=0):
        data = {"memberships-TOTAL_FORMS": len(rows), "memberships-INITIAL_FORMS": initial}
        for n, row in enumerate(rows):
            data |= {f"memberships-{n}-{key}": value for key, value in row.items()}
        return data

    def test_start_with_an_owner(self, boss, client, outsider):
        client.post(url(Project, "add"), {"slug": "fresh", "name": "Fresh", "description": "", "owner": outsider.pk})

        assert access.can(outsider, "manage_members", Project.objects.get(slug="fresh"))

    def test_members_change_through_the_services(self, boss, client, project, owner, viewer, outsider):
        rows = Membership.objects.in_bulk(field_name="id")
        mine = {m.user_id: m for m in rows.values()}
        keep = {"id": mine[owner.pk].pk, "project": project.pk, "user": owner.pk, "role": Role.VIEWER}
        gone = {"id": mine[viewer.pk].pk, "project": project.pk, "user": viewer.pk, "role": "viewer", "DELETE": "on"}
        new = {"project": project.pk, "user": outsider.pk, "role": Role.DEVELOPER}
        order = sorted([keep, gone], key=lambda row: Membership.objects.get(pk=row["id"]).user.username)

        answer = client.post(
            url(Project, "change", project.pk),
            {"name": "Renamed", "description": "", **self.inline(*order, new, initial=2)},
            follow=True,
        )

        assert "last owner" in answer.content.decode()
        assert access.can(owner, "manage_members", project)
        assert not access.can(viewer, "view_project", project)
        assert access.can(outsider, "submit_job", project)
        assert Project.objects.get().name == "Renamed"

    def test_secrets_show_names_only(self, boss, client, project):
        secret = set_secret(project=project, name="hub", data={"API_KEY": "open-sesame"})

        html = client.get(url(ProjectSecret, "change", secret.pk)).content.decode()

        assert "API_KEY" in html
        assert "open-sesame" not in html
        assert "gAAAA" not in html


def test_every_admin_page_can_be_named():
    for model in MODELS:
        try:
            url(model, "changelist")
        except NoReverseMatch:
            pytest.fail(f"{model} has no list")
