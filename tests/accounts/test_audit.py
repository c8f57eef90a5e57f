import pytest
from django.core.cache import cache
from django.db import DatabaseError

from apps.accounts import audit
from apps.accounts.models import AuditEntry


@pytest.fixture(autouse=True)
def _empty_cache():
    cache.clear()


class TestRecord:
    def test_masks_what_sounds_secret_at_any_depth(self, db):
        detail = {"name": "x", "password": "p1", "deep": [{"api_token": "p2", "KUBECONFIG": {"a": "p3"}}]}

        audit.record(actor=None, action="test", detail=detail)

        entry = AuditEntry.objects.get()
        assert entry.detail == {"name": "x", "password": "•••", "deep": [{"api_token": "•••", "KUBECONFIG": "•••"}]}

    def test_fits_hostile_text_into_its_columns(self, outsider):
        audit.record(actor=outsider, action="a" * 500, target="x\n\x00\x1b[31m" + "y" * 999, project="z" * 99)

        entry = AuditEntry.objects.get()
        assert len(entry.action) == 64
        assert entry.target.startswith("x���[31my")
        assert len(entry.target) == 200


class TestRefusals:
    def test_a_refused_role_is_told(self, project, viewer, client):
        client.force_login(viewer)

        client.post(f"/projects/{project.slug}/settings/", {"name": "mine"})

        entry = AuditEntry.objects.get(outcome="refused")
        assert entry.actor == viewer
        assert entry.action == "refused POST projects:settings"
        assert entry.target == f"/projects/{project.slug}/settings/"
        assert entry.project_slug == project.slug
        assert entry.detail == {"status": 403}
        assert entry.ip_address == "127.0.0.1"

    def test_looking_for_what_is_hidden_is_told(self, project, outsider, client):
        client.force_login(outsider)

        client.get(f"/api/v1/projects/{project.slug}/secrets/")
        client.get("/no/such/page/")

        entry = AuditEntry.objects.get(outcome="refused")
        assert (entry.actor, entry.action) == (outsider, "refused GET project-secret-list")
        assert entry.detail == {"status": 404}

    def test_a_stranger_at_the_api_is_told(self, db, client):
        client.get("/api/v1/me/")

        entry = AuditEntry.objects.get()
        assert (entry.actor, entry.action, entry.detail) == (None, "refused GET me", {"status": 401})

    def test_success_is_not(self, outsider, client):
        client.force_login(outsider)
        AuditEntry.objects.all().delete()

        client.get("/api/v1/me/")

        assert not AuditEntry.objects.exists()

    def test_a_scanner_cannot_fill_the_table(self, outsider, monkeypatch):
        monkeypatch.setattr(audit, "REFUSALS_A_MINUTE", 3)

        for n in range(10):
            audit.record_refused(actor=outsider, action="scan", target=n)
        cache.delete_many([key.split(":", 2)[-1] for key in list(cache._cache) if "refusals:" in key])
        audit.record_refused(actor=outsider, action="scan", target="later")

        assert [entry.target for entry in AuditEntry.objects.order_by("id")] == ["0", "1", "2", "later"]
        assert AuditEntry.objects.first().detail == {"not_recorded_before": 7}

    def test_one_scanner_does_not_silence_another(self, outsider, viewer, monkeypatch):
        monkeypatch.setattr(audit, "REFUSALS_A_MINUTE", 1)
        AuditEntry.objects.all().delete()

        for person in (outsider, outsider, viewer):
            audit.record_refused(actor=person, action="scan")

        assert {entry.actor for entry in AuditEntry.objects.all()} == {outsider, viewer}

    def test_a_refusal_stays_one_when_the_trail_cannot_be_written(self, project, viewer, client, monkeypatch):
        def fail(**_):
            raise DatabaseError("disk full")

        client.force_login(viewer)
        monkeypatch.setattr(audit, "record", fail)

        assert client.get(f"/projects/{project.slug}/settings/").status_code == 403
