import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from apps.core.api.throttling import PerUser


@pytest.fixture
def client(member, monkeypatch):
    cache.clear()
    monkeypatch.setattr(PerUser, "get_rate", lambda self: "2/min")
    client = APIClient()
    client.force_authenticate(member)
    yield client
    cache.clear()


def test_the_request_above_the_rate_is_told_when_to_come_back(client):
    answers = [client.get("/api/v1/me/") for _ in range(3)]

    assert [a.status_code for a in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "too_many_requests"
    assert 0 < int(answers[2]["Retry-After"]) <= 60


def test_one_person_does_not_use_up_anothers(client, owner):
    for _ in range(3):
        client.get("/api/v1/me/")
    client.force_authenticate(owner)

    assert client.get("/api/v1/me/").status_code == 200
