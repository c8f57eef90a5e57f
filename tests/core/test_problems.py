"""Errors of the API: the same document whatever went wrong, and nothing half-made."""

import pytest
from rest_framework.test import APIClient

from apps.accounts import services as accounts
from apps.accounts.models import ApiToken
from apps.core.api.problems import field_errors, problem_response
from apps.core.errors import DomainError, InvalidInput, InvalidTransition, NotAllowed

TOKENS = "/api/v1/tokens/"


@pytest.fixture
def client(outsider):
    client = APIClient()
    client.force_login(outsider)
    return client


def post(client, body, content_type="application/json"):
    return client.generic("POST", TOKENS, body, content_type)


class TestBadBodies:
    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            (b"{", 400, "malformed_body"),
            (b"\xff\xfe", 400, "malformed_body"),
            (b'{"name": NaN}', 400, "malformed_body"),
            (b"[" * 200_000, 400, "malformed_body"),
            (b'{"name": "a\\u0000b"}', 400, "malformed_body"),
            (b'{"name": "\\ud800"}', 400, "malformed_body"),
            (b'{"\\ud800": 1}', 400, "malformed_body"),
            (b'{"n": ' + b"9" * 5000 + b"}", 400, "malformed_body"),
            (b"[]", 400, "invalid_input"),
            (b"null", 400, "invalid_input"),
            (b'"text"', 400, "invalid_input"),
        ],
    )
    def test_are_refused_clearly(self, client, body, status, code):
        answer = post(client, body)

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["request_id"]
        assert not ApiToken.objects.exists()

    @pytest.mark.parametrize("announced", [True, False])
    def test_too_large_is_413(self, client, settings, announced):
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
        body = b'{"name": "' + b"x" * 2000 + b'"}'

        answer = (
            post(client, body)
            if announced
            else client.generic("POST", TOKENS, body, "application/json", CONTENT_LENGTH="")
        )

        if announced:
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert answer.status_code >= 400
        assert not ApiToken.objects.exists()

    def test_a_lying_length_does_not_help(self):
        from io import BytesIO

        from django.core.exceptions import RequestDataTooBig

        from apps.core.api.parsers import Limited

        assert Limited(BytesIO(b"x" * 10), 10, "no").read() == b"x" * 10
        with pytest.raises(RequestDataTooBig):
            Limited(BytesIO(b"x" * 11), 10, "no").read()

    def test_another_media_type_is_415(self, client):
        answer = post(client, b"name=x", "application/x-www-form-urlencoded")

        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")

    def test_another_method_is_405(self, client):
        answer = client.put(TOKENS, {})

        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "POST" in answer["Allow"]

    def test_unknown_fields_are_all_named(self, client):
        answer = client.post(TOKENS, {"name": "x", "b": 1, "a": {"deep": 2}})

        assert answer.status_code == 400
        assert [e["field"] for e in answer.json()["errors"]] == ["a", "b"]
        assert not ApiToken.objects.exists()

    def test_a_million_unknown_fields_are_not_repeated(self, client):
        answer = client.post(TOKENS, {f"f{n}": n for n in range(10_000)})

        assert len(answer.json()["errors"]) == 20


class TestDomainErrors:
    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (InvalidInput({"a.b": "bad"}), 400, "invalid_input"),
            (NotAllowed("no"), 403, "not_allowed"),
            (InvalidTransition("no"), 409, "invalid_transition"),
            (DomainError("no"), 409, "refused"),
        ],
    )
    def test_have_their_status(self, error, status, code):
        answer = problem_response(error, {})

        assert (answer.status_code, answer.data["code"]) == (status, code)

    def test_an_unreachable_cluster_is_503(self):
        from apps.clusters.gateway import Unavailable

        answer = problem_response(Unavailable("The cluster does not answer."), {})

        assert answer.status_code == 503
        assert answer["Retry-After"] == "15"
        assert answer.data["detail"] == "The cluster does not answer."

    def test_a_bug_stays_a_bug(self):
        assert problem_response(ZeroDivisionError(), {}) is None


def test_field_paths_are_flat():
    detail = {"params": {"image": ["bad"]}, "list": [{}, {"x": ["no"]}], "non_field_errors": ["whole"]}

    assert field_errors(detail) == [
        {"field": "params.image", "message": "bad"},
        {"field": "list[1].x", "message": "no"},
        {"field": "", "message": "whole"},
    ]


def test_too_many_requests_is_a_problem_too(outsider, monkeypatch):
    from django.core.cache import cache
    from rest_framework.throttling import UserRateThrottle

    cache.clear()
    monkeypatch.setattr(UserRateThrottle, "THROTTLE_RATES", {"user": "2/min", "anon": "60/min"})
    _, secret = accounts.create_token(user=outsider, name="ci")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")

    answers = [client.get("/api/v1/me/", headers={"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(3)]

    assert [a.status_code for a in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "too_many_requests"
    assert int(answers[2]["Retry-After"]) > 0
    cache.clear()
