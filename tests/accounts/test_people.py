"""Accounts, passwords, sessions, platform roles."""

import pytest
from django.contrib.sessions.models import Session

from apps.accounts import selectors, services
from apps.accounts.models import ApiToken, AuditEntry, BrowserSession, User
from apps.accounts.roles import PlatformRole
from apps.core.errors import InvalidInput, NotAllowed
from tests.factories import UserFactory

GOOD = "correct horse battery"


@pytest.fixture
def admin(db):
    return UserFactory(username="boss", platform_role=PlatformRole.PLATFORM_ADMIN)


@pytest.fixture
def person(db):
    return services.create_user(username="ada", email="ada@example.com", password=GOOD)


def sign_in(client, username="ada", password=GOOD, **more):
    return client.post("/sign-in/", {"username": username, "password": password, **more})


class TestCreateUser:
    def test_has_no_default_password(self, db):
        user = services.create_user(username="ada")

        assert not user.has_usable_password()
        assert not user.is_staff

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"username": "a b"}, "username"),
            ({"username": "ada", "email": "no"}, "email"),
            ({"username": "ada", "password": "12345"}, "password"),
        ],
    )
    def test_refuses_bad_input(self, db, asked, field):
        with pytest.raises(InvalidInput) as refusal:
            services.create_user(**asked)

        assert list(refusal.value.fields) == [field]
        assert not User.objects.exists()

    def test_its_audit_entry_holds_no_password(self, person):
        assert GOOD not in str(list(AuditEntry.objects.values()))


class TestPlatformRoles:
    def test_a_platform_admin_gives_them(self, admin, person):
        services.set_platform_role(user=person, role=PlatformRole.AUDITOR, actor=admin)

        person.refresh_from_db()
        assert (person.platform_role, person.is_staff) == ("auditor", True)

    @pytest.mark.parametrize("role", [PlatformRole.NONE, PlatformRole.QUOTA_MANAGER, PlatformRole.AUDITOR])
    def test_nobody_else_does(self, person, role):
        climber = UserFactory(platform_role=role)

        with pytest.raises(NotAllowed):
            services.set_platform_role(user=climber, role=PlatformRole.PLATFORM_ADMIN, actor=climber)

        climber.refresh_from_db()
        assert climber.platform_role == role

    def test_the_last_platform_admin_stays(self, admin):
        with pytest.raises(NotAllowed, match="last platform admin"):
            services.set_platform_role(user=admin, role=PlatformRole.NONE, actor=admin)

        admin.refresh_from_db()
        assert admin.platform_role == PlatformRole.PLATFORM_ADMIN


class TestDeactivate:
    def test_ends_everything_at_once(self, admin, person, client):
        services.create_token(user=person, name="ci")
        sign_in(client)

        services.deactivate_user(user=person, actor=admin)

        assert client.get("/account/").status_code == 302
        assert not ApiToken.objects.usable().exists()
        assert not selectors.sessions_of(person).exists()

    def test_refuses_to_saw_off_ones_own_branch(self, admin):
        with pytest.raises(NotAllowed):
            services.deactivate_user(user=admin, actor=admin)

        admin.refresh_from_db()
        assert admin.is_active


class TestSignIn:
    def test_is_audited_with_address_and_request_id(self, person, client):
        answer = sign_in(client)

        assert answer.status_code == 302
        entry = AuditEntry.objects.get(action="session.sign_in")
        assert (entry.actor, entry.outcome, entry.ip_address) == (person, "done", "127.0.0.1")
        assert len(entry.request_id) == 36

    def test_does_not_believe_a_forwarded_address(self, person, client):
        client.post("/sign-in/", {"username": "ada", "password": GOOD}, headers={"X-Forwarded-For": "203.0.113.9"})

        assert AuditEntry.objects.get(action="session.sign_in").ip_address == "127.0.0.1"

    def test_says_the_same_for_wrong_password_and_wrong_name(self, person, client):
        services.deactivate_user(user=UserFactory(username="gone"), actor=None)
        pages = [sign_in(client, username=name, password="wrong") for name in ("ada", "nobody", "gone")]

        texts = {
            page.content.decode().replace(name, "").split("csrfmiddlewaretoken")[0].split("<h1>")[1]
            for page, name in zip(pages, ("ada", "nobody", "gone"), strict=True)
        }
        assert len(texts) == 1
        assert "do not match" in texts.pop()
        refused = AuditEntry.objects.filter(action="session.sign_in", outcome="refused")
        assert {entry.target for entry in refused} == {"ada", "nobody", "gone"}
        assert "wrong" not in str(list(refused.values()))

    def test_locks_out_and_says_for_how_long(self, person, client, settings):
        settings.AXES_ENABLED = True
        settings.AXES_FAILURE_LIMIT = 3

        codes = [sign_in(client, password="wrong").status_code for _ in range(4)]
        answer = sign_in(client)

        assert codes[0] == 200
        assert answer.status_code == 429
        assert "Too many attempts" in answer.content.decode()
        assert "15 minutes" in answer.content.decode()
        assert AuditEntry.objects.filter(action="session.lock_out", target="ada").exists()
        assert client.get("/account/").status_code == 302

    def test_goes_only_to_our_own_pages(self, person, client):
        assert sign_in(client, next="https://evil.example/")["Location"] == "/"
        client.logout()
        assert sign_in(client, next="/account/")["Location"] == "/account/"

    def test_sign_out_needs_a_post(self, person, client):
        sign_in(client)

        assert client.get("/sign-out/").status_code == 405
        assert client.get("/account/").status_code == 200
        assert client.post("/sign-out/")["Location"] == "/sign-in/"
        assert client.get("/account/").status_code == 302
        assert AuditEntry.objects.filter(action="session.sign_out", actor=person).count() == 1
        assert not BrowserSession.objects.exists()


class TestAccountPage:
    def test_saves_the_profile(self, person, client):
        client.force_login(person)

        client.post("/account/", {"first_name": "Ada", "last_name": "Lovelace", "email": "a@example.com"})

        person.refresh_from_db()
        assert person.display_name == "Ada Lovelace"
        assert person.email == "a@example.com"

    def test_shows_the_error_at_the_field(self, person, client):
        client.force_login(person)

        answer = client.post("/account/", {"email": "no", "is_superuser": "on", "platform_role": "platform_admin"})

        assert answer.status_code == 422
        assert "valid email" in answer.content.decode()
        person.refresh_from_db()
        assert (person.email, person.is_superuser, person.platform_role) == ("ada@example.com", False, "")

    def test_escapes_what_people_write(self, person, client):
        client.force_login(person)
        client.post("/account/", {"first_name": "<script>alert(1)</script>", "email": ""})

        assert "<script>alert" not in client.get("/account/").content.decode()

    def test_changing_the_password_ends_other_sessions(self, person, client, django_user_model):
        other = type(client)()
        sign_in(other)
        sign_in(client)
        new = "another good phrase"

        answer = client.post("/account/password/", {"current": GOOD, "new": new, "repeat": new})

        assert answer.status_code == 302
        assert client.get("/account/").status_code == 200
        assert other.get("/account/").status_code == 302
        person.refresh_from_db()
        assert person.check_password(new)
        assert Session.objects.count() == 1
        assert selectors.sessions_of(person).get().session_key == client.session.session_key

    @pytest.mark.parametrize(
        ("asked", "text"),
        [
            ({"current": "wrong", "new": "another good phrase", "repeat": "another good phrase"}, "not your current"),
            ({"current": GOOD, "new": "tiny9", "repeat": "tiny9"}, "too short"),
            ({"current": GOOD, "new": "another good phrase", "repeat": "different"}, "two passwords differ"),
        ],
    )
    def test_refuses_a_bad_change(self, person, client, asked, text):
        client.force_login(person)

        answer = client.post("/account/password/", asked)

        assert answer.status_code == 422
        assert text in answer.content.decode()
        assert asked["new"] not in answer.content.decode()
        person.refresh_from_db()
        assert person.check_password(GOOD)

    def test_lists_and_ends_other_browsers(self, person, client):
        other = type(client)(headers={"user-agent": "Other Browser"})
        sign_in(other)
        sign_in(client)

        assert "Other Browser" in client.get("/account/").content.decode()
        client.post("/account/sessions/end/")

        assert other.get("/account/").status_code == 302
        assert "Other Browser" not in client.get("/account/").content.decode()


class TestTokensPage:
    def test_shows_the_secret_once(self, person, client):
        client.force_login(person)

        made = client.post("/account/tokens/", {"name": "ci", "scope": "read", "days": "30"})

        secret = made.context["secret"]
        assert made.status_code == 201
        assert secret in made.content.decode()
        assert made["Cache-Control"] == "no-store"
        later = client.get("/account/tokens/").content.decode()
        assert secret not in later
        assert "ci" in later

    def test_revokes(self, person, client):
        token, _ = services.create_token(user=person, name="ci")
        client.force_login(person)

        client.post(f"/account/tokens/{token.uid}/revoke/")

        assert not ApiToken.objects.usable().exists()

    def test_cannot_revoke_somebody_elses(self, person, client):
        token, _ = services.create_token(user=UserFactory(), name="ci")
        client.force_login(person)

        assert client.post(f"/account/tokens/{token.uid}/revoke/").status_code == 404
        assert ApiToken.objects.usable().exists()

    def test_costs_the_same_with_many_tokens(self, person, client, django_assert_max_num_queries):
        client.force_login(person)
        for n in range(20):
            services.create_token(user=person, name=f"t{n}")

        with django_assert_max_num_queries(8):
            client.get("/account/tokens/")
