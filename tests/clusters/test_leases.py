from datetime import timedelta

import pytest
from django.utils import timezone

from apps.clusters import leases
from apps.clusters.models import Lease


@pytest.fixture
def held(cluster_row):
    assert leases.acquire(cluster_row, "watch", "one", 15)
    return Lease.objects.get()


class TestAcquire:
    def test_one_of_two_gets_it(self, cluster_row, held):
        assert not leases.acquire(cluster_row, "watch", "two", 15)

        assert Lease.objects.get().holder == "one"

    def test_the_holder_renews(self, cluster_row, held):
        assert leases.acquire(cluster_row, "watch", "one", 60)

        assert Lease.objects.get().expires_at > held.expires_at + timedelta(seconds=40)

    def test_an_expired_one_is_taken_over_once(self, cluster_row, held):
        Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

        assert leases.acquire(cluster_row, "watch", "two", 15)
        assert not leases.acquire(cluster_row, "watch", "one", 15)
        assert not leases.acquire(cluster_row, "watch", "three", 15)
        assert Lease.objects.get().holder == "two"

    def test_purposes_and_clusters_are_apart(self, cluster_row, held):
        assert leases.acquire(cluster_row.pk, "logs", "two", 15)
        assert Lease.objects.count() == 2

    @pytest.mark.django_db(transaction=True)
    def test_a_cluster_that_is_gone_has_none(self):
        assert not leases.acquire(987654, "watch", "one", 15)

        assert not Lease.objects.exists()

    def test_an_insert_that_comes_second_loses(self, cluster_row, held, monkeypatch):
        """Both saw nothing; the constraint decides."""
        monkeypatch.setattr("django.db.models.query.QuerySet.exists", lambda self: False)

        assert not leases.acquire(cluster_row, "watch", "two", 15)


class TestRelease:
    def test_frees_it_at_once(self, cluster_row, held):
        leases.release(cluster_row, "watch", "one")

        assert leases.acquire(cluster_row, "watch", "two", 15)

    def test_leaves_anothers_alone(self, cluster_row, held):
        leases.release(cluster_row, "watch", "two")

        assert Lease.objects.get().holder == "one"
