"""A database of its own for a benchmark."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql


@contextmanager
def database() -> Iterator[tuple[str, bool]]:
    """A URL of an empty database, and whether it is PostgreSQL. Gone afterwards."""
    given = os.environ.get("CUBE_TEST_DATABASE_URL", "")
    for base in (
        [given] if given else [f"postgres://{who}@127.0.0.1:5432/postgres" for who in ("postgres:postgres", "postgres")]
    ):
        try:
            server = psycopg.connect(base, autocommit=True, connect_timeout=2)
        except psycopg.Error:
            continue
        name = f"cube_bench_{secrets.token_hex(4)}"
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{base.rpartition('/')[0]}/{name}", True
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            server.close()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{Path(folder) / 'bench.sqlite3'}", False
