"""Search: what is found, in which order, in pages that end when their budget does, and by whom."""

import pytest
from django.test import Client

from apps.jobs.models import Job
from apps.logs import scanning, searching, services
from apps.logs.excerpts import SHOWN_BYTES, excerpt
from apps.logs.lines import GAP
from apps.logs.needle import Needle
from apps.projects.services import remove_member
from tests.factories import ProjectFactory, TemplateVersionFactory

from .conftest import record, stamp, write

SINCE = "2026-11-24T00:00:00Z"


def ask(client, project, **query):
    return client.get(f"/api/v1/projects/{project.slug}/logs/search/", {"since": SINCE, **query})


def places(answer):
    return [(line["stream"], line["ordinal"]) for line in answer.json()["results"]]


def every_page(client, project, **query):
    """All results by following cursors, and the number of pages."""
    found, pages, cursor = [], 0, {}
    while pages < 500:
        answer = ask(client, project, **query, **cursor).json()
        found += [(line["stream"], line["ordinal"]) for line in answer["results"]]
        pages += 1
        if answer["cursor"] is None:
            return found, pages
        cursor = {"cursor": answer["cursor"]}
    raise AssertionError("a search without an end")


@pytest.fixture
def reader(client, viewer):
    client.force_login(viewer)
    return client


@pytest.fixture
def other_job(project, cluster_row):
    return Job.objects.create(
        project=project,
        cluster=cluster_row,
        template_version=TemplateVersionFactory(number=2),
        name="eval",
        status="failed",
    )


class TestTheAnswer:
    def test_names_line_pod_matches_and_address(self, reader, project, job, make_stream):
        stream = make_stream([(1, b"fine"), (2, "\u00e4 Loss is NaN, loss!".encode())], pod="train-3", rank=3)

        answer = ask(reader, project, q="loss").json()

        [line] = answer["results"]
        assert line["job"] == {"uid": str(job.uid), "name": "train", "status": "running"}
        assert (line["pod"], line["rank"], line["container"], line["attempt"]) == ("train-3", 3, "main", 1)
        assert (line["stream"], line["ordinal"], line["stamp"]) == (stream.pk, 1, stamp(2).decode())
        assert line["text"] == "\u00e4 Loss is NaN, loss!"
        assert [line["text"][start:end] for start, end in line["spans"]] == ["Loss", "loss"]
        assert line["url"] == f"/projects/{project.slug}/jobs/{job.uid}/#L{stream.pk}-1"
        assert (answer["cursor"], answer["scanned"]["streams"], answer["scanned"]["lines"]) == (None, 1, 2)

    def test_is_of_newest_jobs_first_and_each_stream_in_order(self, reader, project, job, other_job, make_stream):
        run = services.ContainerRun("ns", "eval-0", "uid-of-eval", "main", 0)
        newest = services.open_stream(job=other_job, run=run)
        write(newest, [record(1, b"x")])
        first = make_stream([(5, b"x"), (6, b"x")], pod="a", rank=0)
        second = make_stream([(1, b"x"), (2, b"y"), (3, b"x")], pod="b", rank=1)

        found = places(ask(reader, project, q="x"))

        assert found == [(newest.pk, 0), (first.pk, 0), (first.pk, 1), (second.pk, 0), (second.pk, 2)]

    @pytest.mark.parametrize(
        ("query", "ordinals"),
        [
            ({"q": "Error"}, [0, 1]),
            ({"q": "Error", "case": "1"}, [0]),
            ({"q": r"e.r\w+ \d", "regex": "1"}, [0]),
            ({"q": r"^error", "regex": "1"}, [1]),
            ({"q": r"so$", "regex": "1"}, [1]),
            ({"q": r"e.r"}, []),
            ({"q": "o", "since": "2026-11-24T02:00:02Z"}, [1, 2]),
            ({"q": "o", "until": "2026-11-24T02:00:02Z"}, [0]),
            ({"q": "o", "since": "2026-11-24T10:00:02+08:00", "until": "2026-11-24T02:00:03Z"}, [1]),
            ({"q": "loss", "status": "failed"}, []),
            ({"q": "loss", "status": "running"}, [2]),
            ({"q": "loss", "template": "echo"}, [2]),
            ({"q": "loss", "template": "other"}, []),
            ({"q": "2026-11-24"}, []),
        ],
    )
    def test_holds_what_was_asked_for(self, reader, project, make_stream, query, ordinals):
        make_stream([(1, b"an Error 5 occurred"), (2, b"error again, so"), (3, b"loss of something")])

        assert [ordinal for _, ordinal in places(ask(reader, project, **query))] == ordinals

    def test_is_of_the_last_day_when_no_time_is_given_but_of_all_of_one_job(self, reader, project, job, make_stream):
        make_stream([record(1, b"x")._replace(stamp=b"2020-01-01T00:00:00.000000000Z")])
        url = f"/api/v1/projects/{project.slug}/logs/search/"

        assert reader.get(url, {"q": "x"}).json()["results"] == []
        assert len(reader.get(url, {"q": "x", "job": str(job.uid)}).json()["results"]) == 1

    def test_leaves_gap_rows_out(self, reader, project, make_stream):
        make_stream([record(1, b'{"cause": "rotation"}', kind=GAP), (2, b"rotation")])

        assert [ordinal for _, ordinal in places(ask(reader, project, q="rotation"))] == [1]

    def test_survives_whatever_a_job_prints(self, reader, project, make_stream):
        make_stream([(1, b"\xff\xfe x \x00 \x1b[31m"), (2, b""), (3, b"<script>x</script>")])

        answer = ask(reader, project, q="x").json()

        assert [line["text"] for line in answer["results"]] == ["\ufffd\ufffd x \x00 \x1b[31m", "<script>x</script>"]


class TestPages:
    @pytest.fixture
    def many(self, make_stream, monkeypatch):
        monkeypatch.setattr(scanning, "PIECE_LINES", 7)
        streams = [make_stream(pod=f"p{number}", rank=number) for number in range(3)]
        lines = [record(n, b"hit" if n % 3 == 0 else b"miss") for n in range(50)]
        for at in range(0, 50, 7):
            for stream in streams:
                write(stream, lines[at : at + 7])
        return streams

    @pytest.fixture
    def everything(self, many):
        return [(stream.pk, n) for stream in many for n in range(50) if n % 3 == 0]

    @pytest.mark.parametrize("limit", [1, 2, 5, 17, 50, 51, 52, 1000])
    def test_hold_each_line_once_in_order(self, reader, project, everything, limit):
        found, pages = every_page(reader, project, q="hit", limit=limit)

        assert found == everything
        assert pages <= len(everything) // limit + 1

    def test_end_with_their_time_and_go_on_where_they_ended(self, reader, project, everything, monkeypatch):
        monkeypatch.setattr(searching, "SECONDS", 0.0)

        found, pages = every_page(reader, project, q="hit")

        assert found == everything
        assert pages == 24  # one piece of 7 lines each: 8 of each stream

    def test_end_with_their_bytes(self, reader, project, many, monkeypatch):
        monkeypatch.setattr(searching, "BYTES", 1)

        answer = ask(reader, project, q="nowhere").json()

        assert answer["results"] == []
        assert answer["scanned"]["lines"] == 7
        assert answer["cursor"]

    def test_are_few_for_few_rows(self, reader, project, many, django_assert_max_num_queries):
        with django_assert_max_num_queries(12):
            assert len(places(ask(reader, project, q="hit", limit=1000))) == 51

    def test_go_on_after_a_stream_that_went_away(self, reader, project, many, everything):
        first = ask(reader, project, q="hit", limit=20).json()
        many[1].delete()

        rest = ask(reader, project, q="hit", limit=1000, cursor=first["cursor"])

        assert places(rest) == [place for place in everything if place[0] == many[2].pk]


class TestWhoMayAsk:
    def test_only_members_and_only_about_their_project(self, client, outsider, project, job, make_stream, viewer):
        make_stream([(1, b"x")])
        client.force_login(outsider)
        assert ask(client, project, q="x").status_code == 404
        client.force_login(viewer)
        assert ask(client, ProjectFactory(), q="x").status_code == 404
        assert len(places(ask(client, project, q="x"))) == 1
        remove_member(project=project, user=viewer)
        assert ask(client, project, q="x").status_code == 404

    def test_another_projects_job_is_not_found_by_its_id(self, reader, project, cluster_row, make_stream):
        make_stream([(1, b"x")])
        theirs = Job.objects.create(
            project=ProjectFactory(), cluster=cluster_row, template_version=TemplateVersionFactory(number=3), name="t"
        )

        assert places(ask(reader, project, q="x", job=str(theirs.uid))) == []

    def test_many_at_once_are_told_to_wait(self, reader, project, monkeypatch):
        monkeypatch.setattr(searching, "PATIENCE_SECONDS", 0.01)
        taken = [searching._turns.acquire() for _ in range(searching.AT_ONCE)]
        try:
            answer = ask(reader, project, q="x")
        finally:
            for _ in taken:
                searching._turns.release()

        assert (answer.status_code, answer.json()["code"]) == (429, "busy")
        assert ask(reader, project, q="x").status_code == 200

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({}, "q"),
            ({"q": ""}, "q"),
            ({"q": "(", "regex": "1"}, "q"),
            ({"q": r"(a)\1", "regex": "1"}, "q"),
            ({"q": "x" * 1001}, "q"),
            ({"q": "x", "since": "yesterday"}, "since"),
            ({"q": "x", "limit": "0"}, "limit"),
            ({"q": "x", "limit": "100000"}, "limit"),
            ({"q": "x", "cursor": "!!"}, "cursor"),
            ({"q": "x", "cursor": "MS4y"}, "cursor"),
            ({"q": "x", "cursor": "\u00e4"}, "cursor"),
            ({"q": "x", "job": "7"}, "job"),
            ({"q": "x", "status": "odd"}, "status"),
            ({"q": "x", "sinse": SINCE}, "sinse"),
        ],
    )
    def test_a_wrong_question_is_refused_with_its_field(self, reader, project, query, field):
        answer = ask(reader, project, **query)

        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == [field]

    def test_nobody_without_an_account(self, project):
        assert ask(Client(), project, q="x").status_code == 401


class TestExcerpt:
    def test_of_a_long_line_begins_before_its_first_match(self):
        text = "\u00e4".encode() * 50_000 + b"needle" + b"z" * 100_000

        shown = excerpt(text, Needle("needle"))

        assert (shown.size, shown.offset) == (len(text), 100_000 - 200)
        assert [shown.text[start:end] for start, end in shown.spans] == ["needle"]
        assert "\ufffd" not in shown.text
        assert len(shown.text.encode()) == SHOWN_BYTES

    def test_of_a_short_line_is_the_line(self):
        shown = excerpt(b"a needle", Needle("needle"))

        assert (shown.text, shown.spans, shown.offset, shown.is_cut_after) == ("a needle", [[2, 8]], 0, False)

    def test_for_people_has_no_colours(self):
        shown = excerpt(b"\x1b[1;31mERROR\x1b[0m \x1b]0;title\x07done\r\x07", Needle("error"))

        assert [tuple(part) for part in shown.clean] == [("", False), ("ERROR", True), (" done", False)]
