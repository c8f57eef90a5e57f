"""Fixtures every room's tests share: a project with one person per role, an outsider, a fake cluster."""

import pytest
from django.core.cache import cache
from django.db import connections
from django.test import TransactionTestCase

from apps.clusters import gateway
from apps.clusters.gateway import fake
from apps.clusters.gateway.connect import _connect
from apps.projects.roles import Role
from apps.projects.services import set_role
from tests.factories import ClusterFactory, ProjectFactory, UserFactory

DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences", "live_server"}


def pytest_addoption(parser):
    parser.addoption(
        "--with-database", action="store_true", help="only tests that use one; others run the same on each"
    )


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--with-database"):
        return
    without = [item for item in items if not _uses_database(item)]
    items[:] = [item for item in items if _uses_database(item)]
    config.hook.pytest_deselected(items=without)


def _uses_database(item):
    return bool(DATABASE_FIXTURES.intersection(item.fixturenames)) or item.get_closest_marker("django_db") is not None


KEPT_TABLES = {"django_content_type", "auth_permission"}  # as migrations made them


def _empty_tables(case):
    """After a test with transactions of its own. Django's way, TRUNCATE and then what follows migrations, takes seconds
    on PostgreSQL: each of hundreds of indexes gets a new file."""
    for alias in case._databases_names(include_mirrors=False):
        connection = connections[alias]
        names = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
        quoted = [connection.ops.quote_name(name) for name in sorted(names - KEPT_TABLES)]
        connection.ops.execute_sql_flush([f"DELETE FROM {name}" for name in quoted])  # noqa: S608  Our own tables.


@pytest.fixture(autouse=True, scope="session")
def _quick_to_empty():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _empty_tables)
        yield


@pytest.fixture(autouse=True)
def _fresh_clusters():
    """Fake clusters are kept by kubeconfig, so one test's objects would be there for the next."""
    _connect.cache_clear()
    fake.forget_all()


@pytest.fixture(autouse=True)
def _fresh_cache():
    """Rates are counted in the cache, by keys of rows; primary keys come again in the next test."""
    cache.clear()


@pytest.fixture
def project(db):
    return ProjectFactory()


def _member(project, role):
    user = UserFactory(username=f"{role}-{project.slug}")
    set_role(project=project, user=user, role=role)
    return user


@pytest.fixture
def viewer(project):
    return _member(project, Role.VIEWER)


@pytest.fixture
def member(project):
    """A developer: the role most people have."""
    return _member(project, Role.DEVELOPER)


@pytest.fixture
def operator(project):
    return _member(project, Role.OPERATOR)


@pytest.fixture
def owner(project):
    return _member(project, Role.OWNER)


@pytest.fixture
def outsider(db):
    return UserFactory(username="outsider")


@pytest.fixture
def cluster_row(db):
    return ClusterFactory(slug="default", is_default=True)


@pytest.fixture
def cluster(cluster_row):
    """The fake gateway behind the default cluster; tests read its `objects` to see what was asked."""
    return gateway.connect(cluster_row)
