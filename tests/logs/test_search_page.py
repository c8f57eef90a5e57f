"""The search page: a form, pages of results as fragments, words for every outcome."""

import pytest

from apps.logs import scanning, searching

from .conftest import record, write

HTMX = {"HX-Request": "true"}


@pytest.fixture
def reader(client, viewer):
    client.force_login(viewer)
    return client


def find(client, project, **query):
    """One fragment of results."""
    answer = client.get(f"/projects/{project.slug}/logs/", {"period": "all", **query}, headers=HTMX)
    assert answer.status_code == 200
    return answer.content.decode()


def page(client, project, **query):
    answer = client.get(f"/projects/{project.slug}/logs/", query)
    assert answer.status_code == 200
    return answer.content.decode()


class TestThePage:
    def test_asks_first_and_searches_nothing(self, reader, project):
        text = page(reader, project)

        assert "What are you looking for?" in text
        assert 'hx-trigger="load"' not in text

    def test_fetches_what_its_address_asks_for(self, reader, project):
        text = page(reader, project, q="loss=nan", regex="on")

        assert 'hx-get="?q=loss%3Dnan&amp;regex=on&amp;period=24h" hx-trigger="load"' in text
        assert '<option value="24h" selected>' in text
        assert 'value="loss=nan"' in text

    def test_of_a_job_says_so_and_offers_all(self, reader, project, job):
        text = page(reader, project, job=str(job.uid), period="all")

        assert "Only in train" in text
        assert 'href="?period=all"' in text

    @pytest.mark.parametrize("uid", ["7", "", "00000000-0000-0000-0000-000000000000"])
    def test_of_no_job_is_of_all(self, reader, project, uid):
        assert "Only in" not in page(reader, project, job=uid)

    def test_is_in_the_navigation_and_on_the_job_page(self, reader, project, job):
        text = reader.get(f"/projects/{project.slug}/jobs/{job.uid}/").content.decode()

        assert text.count(f'href="/projects/{project.slug}/logs/') == 2
        assert f"/logs/?job={job.uid}&amp;period=all" in text


class TestResults:
    def test_mark_what_was_found_and_lead_to_the_line(self, reader, project, job, make_stream):
        stream = make_stream([(1, b"fine"), (2, b"<b>Loss</b> is \x1b[31mNaN\x1b[0m")], pod="train-3", rank=3)

        text = find(reader, project, q="loss")

        assert "&lt;b&gt;<mark>Loss</mark>&lt;/b&gt; is NaN" in text
        assert f'href="/projects/{project.slug}/jobs/{job.uid}/#L{stream.pk}-1"' in text
        assert "1 found in 2 lines." in text
        assert "\x1b" not in text

    def test_say_when_there_are_none(self, reader, project, make_stream):
        make_stream([(1, b"fine")])

        assert "Nothing found" in find(reader, project, q="loss")

    def test_go_on_with_a_button_and_count(self, reader, project, make_stream):
        make_stream([(n, b"hit %d" % n) for n in range(150)])

        first = find(reader, project, q="hit")
        cursor = first.split("cursor=")[1].split("&")[0]
        second = find(reader, project, q="hit", cursor=cursor, hits=100, lines=100)

        assert (first.count("<mark>"), "Search on" in first, "100 found in 100 lines so far" in first) == (
            100,
            True,
            True,
        )
        assert (second.count("<mark>"), "Search on" in second, "150 found in 150 lines." in second) == (50, False, True)

    def test_go_on_by_themselves_while_nothing_was_found(self, reader, project, make_stream, monkeypatch):
        monkeypatch.setattr(scanning, "PIECE_LINES", 10)
        monkeypatch.setattr(searching, "BYTES", 1)
        stream = make_stream()
        for at in range(0, 30, 10):
            write(stream, [record(at + n, b"miss") for n in range(10)])

        first = find(reader, project, q="hit")

        assert 'hx-trigger="load"' in first
        assert "Searching… 10 lines so far." in first
        assert "Nothing found" not in first

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ({"q": "(", "regex": "on"}, "no regular expression"),
            ({"q": ""}, "This field is required"),
            ({"q": "x", "cursor": "??"}, "no cursor"),
            ({"q": "x", "status": "odd"}, "Status"),
            (
                {"q": "x", "period": "custom", "since": "2026-11-24T03:00", "until": "2026-11-24T02:00"},
                "before the beginning",
            ),
        ],
    )
    def test_say_what_is_wrong_with_a_question(self, reader, project, query, words):
        assert words in find(reader, project, **query)

    def test_keep_to_the_times_asked_for(self, reader, project, make_stream):
        make_stream([(n, b"line %d" % n) for n in range(0, 600, 30)])

        text = find(reader, project, q="line", period="custom", since="2026-11-24T02:03", until="2026-11-24T02:04")

        assert text.count("<mark>") == 2

    def test_are_hidden_from_outsiders(self, client, outsider, project):
        client.force_login(outsider)

        assert client.get(f"/projects/{project.slug}/logs/", {"q": "x"}, headers=HTMX).status_code == 404
