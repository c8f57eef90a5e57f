"""The life of an API token, from the services, the command line, the API and its page."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from apps.accounts import services, tasks
from apps.accounts.choices import TokenScope
from apps.accounts.models import ApiToken, AuditEntry
from apps.core.errors import InvalidInput, NotAllowed
from tests.factories import UserFactory

ME = "/api/v1/me/"


@pytest.fixture
def person(db):
    return UserFactory(username="ada")


def bearer(secret: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


class TestCreateToken:
    def test_keeps_only_a_digest(self, person):
        token, secret = services.create_token(user=person, name="ci", actor=person)

        assert secret.startswith("cube_")
        assert len(secret) == 48
        assert token.prefix == secret[:12]
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM accounts_apitoken")
            assert all(secret not in str(column) for row in cursor.fetchall() for column in row)

    def test_is_audited_without_the_secret(self, person):
        _, secret = services.create_token(user=person, name="ci", actor=person)

        entry = AuditEntry.objects.get(action="token.create")
        assert (entry.actor, entry.outcome) == (person, "done")
        assert entry.detail == {"user": "ada", "name": "ci", "scope": "write", "expires_at": None}
        assert secret[12:] not in f"{entry.detail}{entry.target}"

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "x" * 101}, "name"),
            ({"name": "x", "scope": "root"}, "scope"),
            ({"name": "x", "expires_at": timezone.now() - timedelta(seconds=1)}, "expires_at"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, person, asked, field):
        with pytest.raises(InvalidInput) as refusal:
            services.create_token(user=person, actor=person, **asked)

        assert list(refusal.value.fields) == [field]
        assert not ApiToken.objects.exists()

    def test_stops_at_the_limit(self, person, monkeypatch):
        monkeypatch.setattr(services, "MAX_TOKENS", 1)
        first, _ = services.create_token(user=person, name="one")

        with pytest.raises(NotAllowed):
            services.create_token(user=person, name="two")
        services.revoke_token(token=first, actor=person)
        services.create_token(user=person, name="two")

        assert ApiToken.objects.count() == 2


class TestBearer:
    def test_speaks_for_its_user(self, person):
        token, secret = services.create_token(user=person, name="ci")

        answer = bearer(secret).get(ME)

        assert answer.status_code == 200
        assert answer.json()["username"] == "ada"
        assert answer.json()["token"]["uid"] == str(token.uid)

    def spoil_expiry(self, token):
        ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))

    def spoil_by_revoking(self, token):
        services.revoke_token(token=token, actor=token.user)

    def spoil_user(self, token):
        services.deactivate_user(user=token.user, actor=None)

    @pytest.mark.parametrize("spoil", ["spoil_expiry", "spoil_by_revoking", "spoil_user"])
    def test_ends(self, person, spoil):
        token, secret = services.create_token(user=person, name="ci")
        getattr(self, spoil)(token)

        answer = bearer(secret).get(ME)

        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"] == "The token is unknown, expired or revoked."

    @pytest.mark.parametrize("secret", ["", "cube_", "nonsense", "cube_" + "x" * 5000, "cube_é", "a b c"])
    def test_refuses_nonsense_alike(self, db, secret):
        answer = bearer(secret).get(ME)

        assert answer.status_code == 401
        assert answer.json()["detail"] == "The token is unknown, expired or revoked."

    def test_looks_up_with_one_query(self, person, django_assert_num_queries):
        from apps.accounts import bearer as reading

        _, secret = services.create_token(user=person, name="ci")

        for header in (f"Bearer {secret}", "Bearer cube_wrong", "Bearer " + "x" * 9000):
            with django_assert_num_queries(1):
                token = reading.token_in(header)
                assert token is None or token.user.username == "ada"

    def test_a_read_only_token_cannot_write(self, person):
        _, secret = services.create_token(user=person, name="ci", scope=TokenScope.READ)

        answer = bearer(secret).post("/api/v1/tokens/", {"name": "more"})

        assert answer.status_code == 403
        assert answer.json()["detail"] == "This token may only read. Create one that may write."
        assert ApiToken.objects.count() == 1
        entry = AuditEntry.objects.get(outcome="refused")
        assert (entry.actor, entry.action) == (person, "refused POST token-list")
        assert bearer(secret).get("/api/v1/tokens/").status_code == 200

    def test_a_cookie_does_not_help_a_bad_token(self, person):
        client = bearer("cube_wrong")
        client.force_login(person)

        assert client.get(ME).status_code == 401

    def test_its_use_is_noted_once_a_minute(self, person):
        token, secret = services.create_token(user=person, name="ci")
        bearer(secret).get(ME)
        token.refresh_from_db()
        first = token.last_used_at

        bearer(secret).get(ME)
        token.refresh_from_db()
        assert token.last_used_at == first
        ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
        bearer(secret).get(ME)

        token.refresh_from_db()
        assert token.last_used_at > first

    def test_does_not_open_the_portal(self, person, client):
        _, secret = services.create_token(user=person, name="ci")

        assert client.get("/account/", headers={"Authorization": f"Bearer {secret}"}).status_code == 302


class TestTokenApi:
    def test_shows_the_secret_once(self, person):
        client = APIClient()
        client.force_login(person)

        made = client.post("/api/v1/tokens/", {"name": "ci", "scope": "read"})

        assert made.status_code == 201
        assert made["Cache-Control"] == "no-store"
        assert bearer(made.json()["secret"]).get(ME).status_code == 200
        listed = client.get("/api/v1/tokens/").json()["results"]
        assert [(t["name"], t["scope"], t["is_usable"]) for t in listed] == [("ci", "read", True)]
        assert "secret" not in listed[0]
        assert "digest" not in listed[0]

    def test_lists_and_revokes_only_ones_own(self, person):
        theirs, secret = services.create_token(user=UserFactory(), name="theirs")
        client = APIClient()
        client.force_login(person)

        assert client.get("/api/v1/tokens/").json()["results"] == []
        assert client.delete(f"/api/v1/tokens/{theirs.uid}/").status_code == 404
        assert bearer(secret).get(ME).status_code == 200

    def test_revokes_at_once_and_twice(self, person):
        token, secret = services.create_token(user=person, name="ci")
        client = APIClient()
        client.force_login(person)

        codes = [client.delete(f"/api/v1/tokens/{token.uid}/").status_code for _ in range(2)]

        assert codes == [204, 204]
        assert bearer(secret).get(ME).status_code == 401
        assert AuditEntry.objects.filter(action="token.revoke").count() == 1

    def test_a_token_cannot_outlive_its_maker(self, person):
        soon = timezone.now() + timedelta(hours=1)
        _, secret = services.create_token(user=person, name="short", expires_at=soon)

        answer = bearer(secret).post("/api/v1/tokens/", {"name": "for ever"})

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "expires_at"
        assert ApiToken.objects.count() == 1

    def test_refuses_unknown_and_machine_written_fields(self, person):
        client = APIClient()
        client.force_login(person)

        answer = client.post("/api/v1/tokens/", {"name": "ci", "scop": "read"})

        assert answer.status_code == 400
        assert answer.json()["errors"] == [{"field": "scop", "message": "There is no such field."}]
        assert not ApiToken.objects.exists()


class TestCommand:
    def test_prints_the_token_and_nothing_else(self, person):
        out = StringIO()

        call_command("create_token", "ada", "--read-only", "--days", "7", stdout=out)

        secret = out.getvalue().strip()
        assert out.getvalue() == f"{secret}\n"
        assert bearer(secret).get(ME).json()["username"] == "ada"
        token = ApiToken.objects.get()
        assert token.scope == TokenScope.READ
        assert timedelta(days=6) < token.expires_at - timezone.now() <= timedelta(days=7)

    @pytest.mark.parametrize("words", [["nobody"], ["ada", "--days", "0"], ["ada", "--name", ""]])
    def test_says_what_is_wrong(self, person, words):
        with pytest.raises(CommandError):
            call_command("create_token", *words)

        assert not ApiToken.objects.exists()


class TestForgetExpired:
    def test_forgets_what_ended_long_ago(self, person):
        kept, _ = services.create_token(user=person, name="kept")
        ended, _ = services.create_token(user=person, name="ended")
        recent, _ = services.create_token(user=person, name="recent")
        long_ago = timezone.now() - timedelta(days=91)
        ApiToken.objects.filter(pk=ended.pk).update(revoked_at=long_ago)
        ApiToken.objects.filter(pk=recent.pk).update(revoked_at=timezone.now())

        tasks.forget_expired()

        assert set(ApiToken.objects.all()) == {kept, recent}
