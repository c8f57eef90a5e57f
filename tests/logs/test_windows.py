"""Parts of a log: around a line, a time, an error; pages without a double; what is found and what is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.logs import windows
from apps.logs.answering import first_error
from apps.logs.feeds import Run
from apps.logs.filters import Filter
from apps.logs.hot import piece_of
from apps.logs.lines import Line, Record
from apps.logs.needle import Needle
from apps.logs.store import Segment, Source, objects, reading, segments
from apps.logs.windows import Stopped, View

from .conftest import stamp

STREAMS = (1, 2)


@pytest.fixture
def stored(monkeypatch):
    data = {}
    reading.forget()
    monkeypatch.setattr(objects, "read", lambda name, offset, size: data[name][offset : offset + size])
    return data


def source(data, stream, lines, *, cut=3):
    """Lines are (second, text), stored in segments of three."""
    made = []
    for first in range(0, len(lines), cut):
        records = [Record(stamp(second), b" ", text) for second, text in lines[first : first + cut]]
        segment = segments.encode(b"".join(record.encode() for record in records), with_filters=True)
        name = f"{stream}-{first}"
        data[name] = segment.data
        place = (name, 0, len(segment.data), segment.index_size)
        made.append(Segment(first, len(records), segment.earliest, segment.latest, *place))
    return Source(stream, tuple(made), len(lines))


def run(stream, first, lines):
    pieces = [piece_of(Line(stream, first + at, stamp(s), b" ", text)) for at, (s, text) in enumerate(lines)]
    return Run(stream, first, pieces, 0)


@pytest.fixture
def view(stored):
    """Stream 1 on even seconds, stream 2 on odd ones and one on second 4 as well."""
    one = source(stored, 1, [(0, b"a"), (2, b"c"), (4, b"e"), (6, b"g")])
    two = source(stored, 2, [(1, b"b"), (3, b"Error: d"), (4, b"f"), (7, b"h")])
    return lambda **more: View([one, two], **more)


def texts(lines):
    return b"".join(line.text for line in lines).decode()


class TestWindows:
    def test_tail_and_head(self, view):
        assert (texts(view().tail(3).lines), view().tail(3).before, view().tail(3).after) == ("fgh", True, False)
        assert (texts(view().head(2).lines), view().head(2).after) == ("ab", True)
        assert view().tail(8).before is False

    def test_around_a_line_and_a_time(self, view):
        line = view().at_line(2, 2, 4)
        assert (texts(line.lines), line.focus, line.before, line.after) == ("Error: defg", (2, 2), True, True)
        at = view().at_time(stamp(4), 4)
        assert (texts(at.lines), at.focus) == ("cError: def", (1, 2))

    def test_a_line_that_is_not_there_or_not_wanted(self, view):
        assert texts(view().at_line(2, 99, 2).lines) == "gh"
        assert texts(view().at_line(9, 0, 2).lines) == "gh"
        window = view(chosen=Filter(text="e")).at_line(2, 0, 10)
        assert (texts(window.lines), window.focus) == ("Error: de", None)

    def test_what_is_in_memory_continues_what_is_stored(self, view):
        runs = {
            1: [run(1, 2, [(4, b"old"), (6, b"old"), (8, b"i"), (9, b"j")])],
            2: [run(2, 9, [(9, b"beyond a hole")])],
        }

        seen = view(runs=runs, ends={1: 5, 2: 10})

        assert seen.ends == {1: 5, 2: 4}
        assert texts(seen.tail(2).lines) == "hi"
        assert texts(seen.forwards({1: 3, 2: 3})) == "ghi"
        assert seen.line(1, 4).text == b"i"

    def test_time_and_text_choose(self, view):
        chosen = Filter(since=stamp(2), until=stamp(6))
        assert texts(view(chosen=chosen).forwards({})) == "cError: def"
        assert texts(view(chosen=chosen).tail(9).lines) == "cError: def"
        assert texts(view(chosen=Filter(text="[cf]$", regex=True)).tail(9).lines) == "cf"

    def test_the_first_error_is_that_of_a_failed_stream(self, stored):
        one = source(stored, 1, [(0, b"RuntimeError: early"), (2, b"fine")])
        two = source(stored, 2, [(1, b"ok"), (3, b"Traceback (most recent call last):")])

        assert first_error(View([one, two]), {2}).text.startswith(b"Traceback")
        assert first_error(View([one, two]), set()).text == b"RuntimeError: early"
        assert first_error(View([source(stored, 3, [(0, b"no errors here, terror aside")])]), {3}) is None

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from(STREAMS), st.integers(0, 3)), max_size=40),
        st.integers(1, 9),
        st.sampled_from(["", "5", "[13579]$"]),
    )
    def test_pages_by_what_a_viewer_shows_hold_every_line_once(self, steps, count, text):
        """A viewer names only streams of which it shows lines; equal times are common."""
        data, lines, second = {}, {1: [], 2: []}, 0
        for stream, step in steps:
            second += step
            lines[stream].append((second, b"%d" % len(lines[stream])))
        reading.forget()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(objects, "read", lambda name, offset, size: data[name][offset : offset + size])
            chosen = Filter(text=text, regex=True)
            seen = View([source(data, stream, lines[stream]) for stream in STREAMS], chosen=chosen)
            everything = list(seen.forwards({}))
            shown = seen.tail(count).lines
            while shown:
                older, more = seen.before(seen.edge(cursors(shown, first=True), is_upper=True), count)
                shown = older + shown
                assert more == (len(shown) < len(everything))
                if not more:
                    break
            assert shown == everything
            shown = seen.head(count).lines
            while shown and len(shown) < len(everything):
                newer, more = seen.after(seen.edge(cursors(shown[-count:], first=False), is_upper=False), count)
                shown = shown + newer
                assert more == (len(shown) < len(everything))
            assert shown == everything


def cursors(lines, *, first):
    named = {}
    for line in lines[:4] if first else lines[-4:]:  # The rest of the window it has let go.
        if first:
            named.setdefault(line.stream, line.ordinal)
        else:
            named[line.stream] = line.ordinal + 1
    return named


class TestFind:
    def test_goes_on_from_a_place_both_ways_and_round(self, view):
        needle = Needle("[ef]$", regex=True)

        def place(line):
            return (line.stamp, line.stream, line.ordinal)

        first, wrapped = view().find(needle, None, 1)
        second, _ = view().find(needle, place(first), 1)
        round_, did_wrap = view().find(needle, place(second), 1)
        back, _ = view().find(needle, place(second), -1)
        last, wrapped_back = view().find(needle, place(first), -1)

        assert (texts([first, second, round_, back, last]), wrapped, did_wrap, wrapped_back) == (
            "efeef",
            False,
            True,
            True,
        )

    def test_only_among_what_is_chosen(self, view):
        assert view(chosen=Filter(text="g")).find(Needle("e"), None, 1) == (None, False)

    def test_can_be_stopped(self, view, monkeypatch):
        monkeypatch.setattr(windows, "LONGEST_STEP", 1)
        answers = iter([False, True])

        with pytest.raises(Stopped):
            view(stop=lambda: next(answers)).find(Needle("nowhere"), None, 1)
