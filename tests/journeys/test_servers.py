"""Laptop mode with servers of one's own: the same code, chosen by environment variables alone."""

import json
import os
import secrets
import subprocess
import sys

import psycopg
import pytest
import redis
from psycopg import sql

from . import running

POSTGRES = os.environ.get("CUBE_TEST_DATABASE_URL") or "postgres://postgres@127.0.0.1:5432/postgres"
REDIS = os.environ.get("CUBE_TEST_REDIS_URL") or "redis://127.0.0.1:6379/14"


@pytest.fixture
def database():
    """The URL of an empty database that is dropped afterwards."""
    try:
        connection = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=2)
    except psycopg.Error as error:
        pytest.skip(f"no PostgreSQL at 127.0.0.1:5432 or CUBE_TEST_DATABASE_URL: {str(error).splitlines()[0]}")
    name = f"cube_journey_{secrets.token_hex(4)}"
    with connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield f"{POSTGRES.rpartition('/')[0]}/{name}"
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def redis_prefix():
    """A prefix nobody else uses; its keys are removed afterwards."""
    client = redis.Redis.from_url(REDIS, socket_connect_timeout=2)
    try:
        client.ping()
    except redis.RedisError:
        pytest.skip("no Redis at 127.0.0.1:6379 or CUBE_TEST_REDIS_URL")
    prefix = f"cube-journey-{secrets.token_hex(4)}"
    yield prefix
    for key in client.scan_iter(f"*{prefix}*", count=1000):
        client.delete(key)


@pytest.fixture
def kubeconfig(tmp_path):
    """Of a development cluster that Cube did not start."""
    folder = tmp_path / "cluster"
    command = [sys.executable, "-m", "apps.devcluster", "start", "--data-dir", str(folder)]
    process = subprocess.Popen(command, cwd=running.ROOT, env=running.environment(data=folder), stdout=subprocess.PIPE)
    try:
        assert json.loads(process.stdout.readline())
        yield folder / "kubeconfig"
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def commands(cube):
    return [" ".join(child.cmdline()) for child in cube.children()]


def run_a_job(cube, command):
    ada = cube.api("ada")
    job = ada.submit("elsewhere", command)
    done = ada.wait_for(job["uid"], "succeeded")
    answer = ada.session.get(f"{ada.base}/jobs/{job['uid']}/logs/", params={"follow": "true"}, timeout=60)
    return done, answer.text.splitlines()


def test_postgresql_and_redis_of_ones_own(tmp_path, database, redis_prefix):
    settings = {"CUBE_DATABASE_URL": database, "CUBE_REDIS_URL": REDIS, "CUBE_REDIS_PREFIX": redis_prefix}

    with running.running(tmp_path / "data", **settings) as cube:
        running.wait_until_told(cube, "First job succeeded")
        done, lines = run_a_job(cube, "for n in 1 2 3; do echo kept in postgres $n; done")
        started = commands(cube)

    assert (done["exit_code"], done["reason"]) == (0, "Completed")
    assert lines == [f"kept in postgres {n}" for n in (1, 2, 3)]
    assert not any("valkey" in command for command in started)
    assert not (tmp_path / "data" / "cube.sqlite3").exists()
    with psycopg.connect(database) as connection:
        names = connection.execute("SELECT name, status FROM jobs_job ORDER BY id").fetchall()
    assert names[0] == ("welcome", "succeeded")
    assert ("elsewhere", "succeeded") in names  # among those of the demo's pipeline


def test_a_cluster_of_ones_own(tmp_path, kubeconfig):
    with running.running(tmp_path / "data", CUBE_KUBECONFIG=str(kubeconfig)) as cube:
        running.wait_until_told(cube, "First job succeeded")
        done, lines = run_a_job(cube, "echo on another cluster")
        started = commands(cube)

    assert (done["exit_code"], lines) == (0, ["on another cluster"])
    assert not any("devcluster" in command for command in started)
    assert not (tmp_path / "data" / "devcluster").exists()
