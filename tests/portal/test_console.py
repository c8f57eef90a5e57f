"""The admin console: one product with the portal, and the only place where the policy bends."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.roles import PlatformRole
from tests.factories import ClusterFactory, UserFactory


@pytest.fixture
def manager(db):
    return UserFactory(platform_role=PlatformRole.QUOTA_MANAGER)


def test_the_policy_bends_for_the_console_alone(client, manager):
    client.force_login(manager)

    assert "'unsafe-eval'" in client.get("/admin/")["Content-Security-Policy"]
    for path in ("/", "/account/", "/api/v1/docs/"):
        policy = client.get(path)["Content-Security-Policy"]
        assert "unsafe" not in policy, path


def test_the_first_page_costs_the_same_for_many_clusters(client, manager, django_assert_num_queries):
    client.force_login(manager)
    ClusterFactory(name="First cluster")
    client.get("/admin/")
    with CaptureQueriesContext(connection) as one:
        page = client.get("/admin/")
    for _ in range(4):
        ClusterFactory()

    with django_assert_num_queries(len(one)):
        client.get("/admin/")
    assert "First cluster" in page.content.decode()


@pytest.mark.parametrize(
    ("role", "status"), [(PlatformRole.AUDITOR, 302), (PlatformRole.QUOTA_MANAGER, 302), (PlatformRole.NONE, 404)]
)
def test_there_is_one_sign_in(client, role, status, db):
    client.force_login(UserFactory(platform_role=role))

    assert client.get("/admin/login/").status_code == status


def test_a_password_is_changed_on_ones_own_page(client, manager):
    client.force_login(manager)

    assert client.get("/admin/password_change/")["Location"] == "/account/"
