"""Rows that are saved together are as each would have been alone."""

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, transaction

from apps.accounts.models import AuditEntry
from apps.core.bulk import insert_rows, update_rows
from apps.projects.models import Project

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)


def entries(count):
    return [
        AuditEntry(action=f"test.{number}", detail={"number": number, "words": ["a", None]}) for number in range(count)
    ]


class TestInsertRows:
    def test_gives_each_row_its_own_key_and_keeps_every_value(self):
        rows = insert_rows([*entries(3), AuditEntry(at=NOON, target='"ü\\', ip_address="::1", detail={})])

        assert len({row.pk for row in rows}) == 4
        for row in rows:
            saved = AuditEntry.objects.get(pk=row.pk)
            names = ("at", "actor_id", "action", "target", "detail", "ip_address", "outcome")
            assert [getattr(saved, name) for name in names] == [getattr(row, name) for name in names]

    def test_takes_more_than_one_statement_for_very_many(self, monkeypatch):
        monkeypatch.setattr("apps.core.bulk.AT_ONCE", 2)

        rows = insert_rows(entries(5))

        assert list(AuditEntry.objects.order_by("pk").values_list("pk", "action")) == [(r.pk, r.action) for r in rows]

    def test_notes_when_they_were_saved(self):
        row = insert_rows([Project(slug="a", name="A")])[0]

        assert row.created_at is not None
        assert Project.objects.get(pk=row.pk).created_at == row.created_at

    def test_a_saved_row_can_be_saved_again(self):
        row = insert_rows([Project(slug="a", name="A")])[0]
        row.name = "B"
        row.save()

        assert list(Project.objects.values_list("slug", "name")) == [("a", "B")]

    def test_is_all_or_nothing(self):
        with pytest.raises(IntegrityError), transaction.atomic():
            insert_rows([Project(slug="a", name="A"), Project(slug="a", name="B")])

        assert Project.objects.count() == 0

    def test_nothing_is_no_statement(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            assert insert_rows([]) == []

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's rows are saved by Django itself")
    def test_may_say_that_they_are_saved_at_another_time(self):
        insert_rows([Project(slug="a", name="A")], at=NOON)

        assert list(Project.objects.values_list("created_at", "updated_at")) == [(NOON, NOON)]


class TestUpdateRows:
    def test_changes_the_named_columns_of_each_and_nothing_else(self):
        rows = insert_rows(entries(3))
        for row in rows:
            row.detail, row.target, row.action = {"was": row.detail}, f"t{row.pk}", "not named"

        update_rows(rows[:2], ["detail", "target"])

        found = dict(AuditEntry.objects.values_list("pk", "target"))
        assert found == {rows[0].pk: f"t{rows[0].pk}", rows[1].pk: f"t{rows[1].pk}", rows[2].pk: ""}
        saved = AuditEntry.objects.get(pk=rows[0].pk)
        assert (saved.action, saved.detail) == ("test.0", {"was": {"number": 0, "words": ["a", None]}})

    def test_empties_a_column(self):
        row = insert_rows([AuditEntry(action="a", ip_address="10.0.0.1")])[0]
        row.ip_address = None

        update_rows([row], ["ip_address"])

        assert AuditEntry.objects.get().ip_address is None
