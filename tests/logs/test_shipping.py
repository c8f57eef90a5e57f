"""Shipping: everything arrives, in order within a stream, whatever the sink does meanwhile."""

import gzip
import io
import random
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.accounts.roles import PlatformRole
from apps.clusters import leases
from apps.logs import selectors, shipping
from apps.logs.lines import GAP, PART
from apps.logs.models import LogStream, ShipCursor, ShipReport
from apps.logs.shipping import Shipper, batches, labels_of
from apps.logs.sinks import Refused, Shipped, Unavailable, open_sink
from apps.logs.sinks.formats import elasticsearch, loki, ndjson
from apps.logs.sinks.targets import FILE_BYTES, Folder, Stdout, of_bulk, of_loki
from tests.factories import UserFactory

from .conftest import record, write

pytestmark = pytest.mark.django_db


class Server:
    """An HTTP endpoint that keeps what it is sent, and misbehaves as it is told: a function of the request's number."""

    def __init__(self):
        self.asked, self.kept, self.headers, self.paths = 0, [], [], []
        self.misbehave = lambda number, body: None
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
                owner.asked += 1
                owner.headers.append(dict(self.headers))
                owner.paths.append(self.path)
                status, answer = owner.misbehave(owner.asked, body) or (200, owner.answer(body))
                if status == "cut":  # It took the records and its answer is lost.
                    owner.kept.append(body)
                    self.connection.close()
                    return
                if status < 300:
                    owner.kept.append(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @staticmethod
    def answer(body):
        if b'"_index"' not in body:
            return b"{}"
        return orjson.dumps({"items": [{"create": {"status": 201}} for _ in range(body.count(b"\n") // 2)]})

    def records(self):
        return [orjson.loads(line) for body in self.kept for line in body.splitlines()]


@pytest.fixture
def server():
    started = Server()
    yield started
    started.http.shutdown()
    started.http.server_close()


@pytest.fixture
def sink(server, settings):
    settings.CUBE_LOG_SINK = f"ndjson+{server.url}/take"
    opened = open_sink()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(shipping, "LONGEST_PAUSE_SECONDS", 0.001)


def shipper(sink, holder="one"):
    return Shipper(sink, holder=holder, stop=threading.Event())


def places(records):
    return [(each["stream"], each["ordinal"]) for each in records]


class TestNothingIsLost:
    def test_while_the_sink_fails_now_and_then(self, server, sink, make_stream, monkeypatch):
        monkeypatch.setattr(shipping, "BATCH_RECORDS", 7)
        dice = random.Random(4)  # noqa: S311
        ways = [None, (503, b"busy"), (429, b""), (401, b""), (404, b""), (500, b""), ("cut", b""), (302, b"")]
        server.misbehave = lambda number, body: dice.choice(ways)
        streams = [
            make_stream([(n, b"line %d" % n) for n in range(60)], pod=f"p{rank}", rank=rank) for rank in range(3)
        ]

        shipper(sink).round()

        found = places(server.records())
        assert set(found) == {(stream.pk, n) for stream in streams for n in range(60)}
        for stream in streams:
            first_time = list(dict.fromkeys(n for pk, n in found if pk == stream.pk))
            assert first_time == list(range(60))
        assert server.asked > 26
        assert {cursor.ordinal for cursor in ShipCursor.objects.all()} == {60}
        assert selectors.unshipped_lines_on(streams[0].job.cluster_id) == 0

    def test_when_another_takes_over_in_the_middle(self, server, sink, make_stream, monkeypatch):
        monkeypatch.setattr(shipping, "BATCH_RECORDS", 7)
        stream = make_stream([(n, b"line %d" % n) for n in range(50)])
        first = shipper(sink)
        first._stop = Countdown(3)

        first.round()
        done = ShipCursor.objects.get().ordinal
        leases.release(stream.job.cluster_id, shipping.PURPOSE, "one")
        shipper(sink, "two").round()

        assert 0 < done < 50
        assert places(server.records()) == [(stream.pk, n) for n in range(50)]

    def test_of_what_comes_later(self, server, sink, make_stream):
        stream = make_stream([(1, b"a")])
        shipper(sink).round()
        ours = shipper(sink)
        write(stream, [record(2, b"b")])

        ours.round()
        ours.round()

        assert [each["text"] for each in server.records()] == ["a", "b"]

    def test_of_streams_longer_than_a_turn(self, server, sink, make_stream, monkeypatch):
        monkeypatch.setattr(shipping, "LINES_A_STREAM", 10)
        stream = make_stream([(n, b"x") for n in range(25)])
        ours = shipper(sink)

        assert [ours.round(), ours.round(), ours.round(), ours.round()] == [True, True, False, False]
        assert places(server.records()) == [(stream.pk, n) for n in range(25)]

    def test_but_what_the_sink_will_never_take(self, server, sink, make_stream):
        stream = make_stream([(n, b"bad" if n == 5 else b"good") for n in range(12)])
        server.misbehave = lambda number, body: (413, b"too large") if b'"bad"' in body else None

        shipper(sink).round()

        assert places(server.records()) == [(stream.pk, n) for n in range(12) if n != 5]
        report = ShipReport.objects.get()
        assert (report.refused, report.problem) == (1, "413: too large")
        assert (report.sent_records, report.pending_lines) == (11, 0)


class Countdown:
    """A stop event that is set after it was asked `number` times."""

    def __init__(self, number):
        self.number = number

    def is_set(self):
        self.number -= 1
        return self.number < 0

    def wait(self, _seconds):
        return self.is_set()


class TestTheLease:
    def test_lets_one_ship_at_a_time(self, server, sink, make_stream, job):
        make_stream([(1, b"a")])
        leases.acquire(job.cluster, shipping.PURPOSE, "another", 60)

        assert shipper(sink).round() is False
        assert (server.asked, ShipCursor.objects.count(), ShipReport.objects.count()) == (0, 0, 0)

    def test_that_was_lost_while_the_sink_was_away_ends_the_attempt(self, server, sink, make_stream, job):
        make_stream([(1, b"a")])

        def lose(number, body):
            job.cluster.leases.update(holder="another", expires_at=timezone.now() + timedelta(minutes=1))
            return (503, b"")

        class Losing:
            def send(self, records):
                lose(0, b"")
                raise Unavailable("away")

            def close(self):
                pass

        assert shipper(Losing()).round() is False
        assert ShipCursor.objects.count() == 0


class TestADeletedJob:
    def test_is_passed_over(self, sink, server, make_stream):
        gone, stays = make_stream([(1, b"a")], pod="p1"), make_stream([(1, b"b")], pod="p2")

        class Deleting:
            def send(self, records):
                LogStream.objects.filter(pk=gone.pk).delete()
                return ""

        shipper(Deleting()).round()

        assert [(cursor.stream_id, cursor.ordinal) for cursor in ShipCursor.objects.all()] == [(stays.pk, 1)]


class TestFormats:
    @pytest.fixture
    def records(self, make_stream):
        stream = make_stream(
            [(1, b"a\xff"), record(2, b"part", kind=PART), record(3, b"{}", kind=GAP)], pod="train-3", rank=3
        )
        [batch] = batches(list(selectors.unshipped_on(stream.job.cluster_id)))
        return batch

    def test_ndjson_names_job_project_pod_and_place(self, records, job):
        [first, second, third] = [orjson.loads(line) for line in ndjson(records).splitlines()]

        assert first == {
            "time": "2026-11-24T02:00:01.000000000Z",
            "project": job.project.slug,
            "job": str(job.uid),
            "job_name": "train",
            "pod": "train-3",
            "rank": 3,
            "container": "main",
            "attempt": 1,
            "restart": 0,
            "stream": records[0].stream,
            "ordinal": 0,
            "kind": "line",
            "text": "a\ufffd",
        }
        assert (second["kind"], third["kind"]) == ("part", "gap")

    def test_elasticsearch_gives_each_record_an_id_of_its_own_for_ever(self, records):
        lines = [orjson.loads(line) for line in elasticsearch(records, "logs").splitlines()]

        uid = records[0].labels.uid
        assert lines[::2] == [{"create": {"_index": "logs", "_id": f"{uid}-{n}"}} for n in range(3)]
        assert lines[1]["@timestamp"] == "2026-11-24T02:00:01.000000000Z"
        assert lines[1]["text"] == "a\ufffd"

    def test_loki_has_labels_of_the_stream_and_nanoseconds(self, records, job):
        [stream] = orjson.loads(loki(records))["streams"]

        assert stream["stream"]["rank"] == "3"
        assert "ordinal" not in stream["stream"]
        assert stream["values"][0] == ["1795485601000000000", "a\ufffd", {"ordinal": "0", "kind": "line"}]

    def test_loki_answers_in_part(self):
        assert of_loki(204, b"") == ""
        assert of_loki(400, b"entry too far behind") == "400: entry too far behind"
        with pytest.raises(Refused):
            of_loki(413, b"")

    def test_elasticsearch_answers_for_each_record(self):
        def answer(*statuses):
            return orjson.dumps({"items": [{"create": {"status": status, "error": "e"}} for status in statuses]})

        assert of_bulk(200, answer(201, 409)) == ""
        assert of_bulk(200, answer(201, 400)) == '400: "e"'
        for bad in (answer(201, 429), b"<html>", b"{}", b"[]"):
            with pytest.raises(Unavailable):
                of_bulk(200, bad)


class TestSinks:
    @pytest.mark.parametrize(
        ("setting", "path", "kind"),
        [
            ("ndjson+{}/take?x=1", "/take?x=1", "application/x-ndjson"),
            ("elasticsearch+{}/my-index", "/_bulk", "application/x-ndjson"),
            ("loki+{}", "/loki/api/v1/push", "application/json"),
        ],
    )
    def test_of_http_send_gzip_to_the_right_place_with_credentials(
        self, settings, server, make_stream, setting, path, kind
    ):
        settings.CUBE_LOG_SINK = setting.format(server.url)
        settings.CUBE_LOG_SINK_AUTHORIZATION = "Bearer abc"
        make_stream([(1, b"a")])

        shipper(open_sink()).round()

        assert server.paths == [path]
        sent = server.headers[0]
        assert (sent["Content-Type"], sent["Content-Encoding"], sent["Authorization"]) == (kind, "gzip", "Bearer abc")
        assert ShipCursor.objects.get().ordinal == 1

    @pytest.mark.parametrize("bad", ["http://x", "ndjson+ftp://x", "kafka+http://x", "file:relative", "ndjson+http://"])
    def test_that_nobody_knows_are_refused(self, settings, bad):
        settings.CUBE_LOG_SINK = bad

        with pytest.raises(ImproperlyConfigured, match="CUBE_LOG_SINK is one of"):
            open_sink()

    def test_do_not_tell_passwords_when_they_are_away(self, settings):
        settings.CUBE_LOG_SINK = "ndjson+http://me:hunter22@127.0.0.1:9/x"

        with pytest.raises(Unavailable) as refusal:
            open_sink().send([])

        assert "hunter22" not in str(refusal.value)

    def test_to_standard_output_write_lines(self, make_stream):
        make_stream([(1, b"a"), (2, b"b")])
        out = io.BytesIO()

        shipper(Stdout(out)).round()

        assert [orjson.loads(line)["text"] for line in out.getvalue().splitlines()] == ["a", "b"]

    def test_to_a_folder_append_by_project_and_day(self, make_stream, job, tmp_path):
        make_stream([(1, b"a"), record(2, b"b")._replace(stamp=b"2026-11-25T00:00:00.000000000Z")])

        shipper(Folder(tmp_path)).round()

        files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.ndjson")}
        assert {name: orjson.loads(data)["text"] for name, data in files.items()} == {
            f"{job.project.slug}/2026-11-24.ndjson": "a",
            f"{job.project.slug}/2026-11-25.ndjson": "b",
        }

    def test_to_a_folder_put_large_files_aside(self, make_stream, job, tmp_path):
        stream = make_stream([(1, b"a")])
        path = tmp_path / job.project.slug / "2026-11-24.ndjson"
        path.parent.mkdir()
        with open(path, "wb") as file:
            file.truncate(FILE_BYTES)
        one = Shipped(stream.pk, 0, "2026-11-24T02:00:01.000000000Z", "line", b"a", labels_of(stream))

        Folder(tmp_path).send([one])
        Folder(tmp_path).send([one])

        assert sorted(each.name for each in path.parent.iterdir()) == ["2026-11-24.1.ndjson", "2026-11-24.ndjson"]
        assert orjson.loads(path.read_bytes())["text"] == "a"

    def test_to_a_folder_that_cannot_be_written_wait(self, tmp_path, make_stream):
        (tmp_path / "file").write_text("")
        stream = make_stream([(1, b"a")])
        one = Shipped(stream.pk, 0, "2026-11-24T02:00:01.000000000Z", "line", b"a", labels_of(stream))

        with pytest.raises(Unavailable):
            Folder(tmp_path / "file").send([one])


class TestOperators:
    def test_see_what_waits_and_why(self, client, make_stream, job):
        make_stream([(n, b"x") for n in range(9)])

        class Away:
            def send(self, records):
                raise Unavailable("503: maintenance")

        ours = shipper(Away())
        ours._stop = Countdown(2)
        ours.round()

        client.force_login(UserFactory(platform_role=PlatformRole.AUDITOR))
        page = client.get("/admin/logs/shipreport/").content.decode()
        report = ShipReport.objects.get()
        assert (report.pending_lines, report.failures, report.sent_records) == (9, 1, 0)
        assert report.lag_seconds > 3600
        assert "503: maintenance" in page

    def test_are_told_when_there_is_nowhere_to_ship_to(self, settings):
        settings.CUBE_LOG_SINK = ""

        with pytest.raises(CommandError, match="nowhere to ship"):
            call_command("ship_logs")
