"""Many rows in one statement. `bulk_update` builds a CASE for each row and column, slow for hundreds."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection
from django.db.models import Model


def update_rows(rows: Iterable[Model], names: Sequence[str]) -> None:
    """Save the named columns of these rows, which are all of one model and were saved before."""
    rows = list(rows)
    if not rows:
        return
    meta = rows[0]._meta
    fields = [meta.pk, *(meta.get_field(name) for name in names)]
    values = [[field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields] for row in rows]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_from_arrays(meta.db_table, fields), [list(column) for column in zip(*values, strict=True)])
        else:
            cursor.executemany(_one_by_one(meta.db_table, fields), [[*row[1:], row[0]] for row in values])


def _from_arrays(table: str, fields: Sequence[Any]) -> str:
    quote = connection.ops.quote_name
    columns = [quote(field.column) for field in fields]
    arrays = ", ".join(f"%s::{field.db_type(connection)}[]" for field in fields)
    sets = ", ".join(f"{column} = v.{column}" for column in columns[1:])
    return (
        f"UPDATE {quote(table)} AS t SET {sets} FROM unnest({arrays}) AS v({', '.join(columns)}) "  # noqa: S608
        f"WHERE t.{columns[0]} = v.{columns[0]}"
    )


def _one_by_one(table: str, fields: Sequence[Any]) -> str:
    quote = connection.ops.quote_name
    sets = ", ".join(f"{quote(field.column)} = %s" for field in fields[1:])
    return f"UPDATE {quote(table)} SET {sets} WHERE {quote(fields[0].column)} = %s"  # noqa: S608
