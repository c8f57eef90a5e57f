"""Many rows in one statement, which PostgreSQL reads from one JSON document.

Django prepares and quotes each value by itself: measured, that is most of what saving hundreds of rows costs. And its
`bulk_update` builds a CASE for each row and column.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import orjson
from django.db import connection
from django.db.models import JSONField, Model
from django.utils import timezone

Row = TypeVar("Row", bound=Model)
AT_ONCE = 1000  # rows a statement


def insert_rows(rows: Iterable[Row], *, at: datetime | None = None) -> list[Row]:
    """Save new rows, which are all of one model, and give them their keys. Returns them.

    Like `bulk_create` it calls no `save()` and sends no signal. It takes values only, no expressions, and what a row
    refers to is saved before the row is made. `at` is what the columns hold that note when a row was saved: now, where
    it is not given. Raises IntegrityError.
    """
    rows = list(rows)
    if not rows:
        return rows
    model = type(rows[0])
    if connection.vendor != "postgresql":
        return model._default_manager.bulk_create(rows, batch_size=AT_ONCE)
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    _stamp(rows, fields, at or timezone.now())
    statement = _insert(model, fields)
    for some in _shared(rows):
        values = [[getattr(row, field.attname) for field in fields] for row in some]
        with connection.cursor() as cursor:
            cursor.execute(statement, [_document(fields, values)])
            keys = cursor.fetchall()
        for row, (key,) in zip(some, keys, strict=True):
            row.pk = key
            row._state.adding, row._state.db = False, connection.alias
    return rows


def update_rows(rows: Iterable[Model], names: Sequence[str]) -> None:
    """Save the named columns of these rows, which are all of one model and were saved before."""
    rows = list(rows)
    if not rows:
        return
    meta = rows[0]._meta
    fields = [meta.pk, *(meta.get_field(name) for name in names)]
    for some in _shared(rows):
        values = [[getattr(row, field.attname) for field in fields] for row in some]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(_update(meta.db_table, fields), [_document(fields, values)])
            else:
                cursor.executemany(_one_by_one(meta.db_table, fields), [_prepared(fields, row) for row in values])


def _stamp(rows: Iterable[Model], fields: Iterable[Any], at: datetime) -> None:
    names = [f.attname for f in fields if getattr(f, "auto_now", False) or getattr(f, "auto_now_add", False)]
    for row in rows:
        for name in names:
            setattr(row, name, at)


def _shared(rows: list[Row]) -> Iterator[list[Row]]:
    """So that no document becomes very large."""
    for place in range(0, len(rows), AT_ONCE):
        yield rows[place : place + AT_ONCE]


# -- the statements ---------------------------------------------------------------------------------------------------
def _insert(model: type[Model], fields: Sequence[Any]) -> str:
    """Keys are given back in the order of the document, as they are by Django's own statement for many rows."""
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    table, key = quote(model._meta.db_table), quote(model._meta.pk.column)
    return f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {_rows_of(fields)} RETURNING {key}"  # noqa: S608


def _update(table: str, fields: Sequence[Any]) -> str:
    quote = connection.ops.quote_name
    key, *columns = [quote(field.column) for field in fields]
    sets = ", ".join(f"{column} = v.{column}" for column in columns)
    return f"UPDATE {quote(table)} AS t SET {sets} FROM {_rows_of(fields)} WHERE t.{key} = v.{key}"  # noqa: S608


def _rows_of(fields: Sequence[Any]) -> str:
    """A document as rows with the columns of these fields; what is not in it is NULL."""
    quote = connection.ops.quote_name
    columns = ", ".join(f"{quote(field.column)} {field.rel_db_type(connection)}" for field in fields)
    return f"json_to_recordset(%s::json) AS v({columns})"


def _one_by_one(table: str, fields: Sequence[Any]) -> str:
    quote = connection.ops.quote_name
    sets = ", ".join(f"{quote(field.column)} = %s" for field in fields[1:])
    return f"UPDATE {quote(table)} SET {sets} WHERE {quote(fields[0].column)} = %s"  # noqa: S608


# -- the values -------------------------------------------------------------------------------------------------------
def _document(fields: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    names = [field.column for field in fields]
    is_json = [isinstance(field, JSONField) for field in fields]
    written = [
        {
            name: orjson.Fragment(json.dumps(value)) if is_nested else value
            for name, value, is_nested in zip(names, row, is_json, strict=True)
            if value is not None
        }
        for row in rows
    ]
    return orjson.dumps(written, default=str).decode()  # `default`: texts that are translated late, and decimals


def _prepared(fields: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """As the statement for one row wants them: the key last."""
    key, *rest = [field.get_db_prep_save(value, connection) for field, value in zip(fields, values, strict=True)]
    return [*rest, key]
