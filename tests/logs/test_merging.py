"""Order over streams within a window, and what is late."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from apps.logs.hot import piece_of
from apps.logs.lines import Line
from apps.logs.merging import Merger, stamp_of


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


def piece(stream, ordinal, moment, text=b"x"):
    return piece_of(Line(stream, ordinal, stamp_of(moment).encode(), b" ", text))


def places(helds):
    return [(each.stream, each.end - 1) for each in helds]


class TestMerger:
    def test_waits_for_the_window_then_gives_by_time(self):
        clock = Clock()
        merger = Merger(clock)
        start = clock.now
        merger.offer(1, [piece(1, 0, start - 0.05), piece(1, 1, start)], None)
        merger.offer(2, [piece(2, 0, start - 0.02)], None)
        assert merger.take(0.2).after == {}

        clock.now += 0.19
        first = merger.take(0.2)
        clock.now += 0.02
        second = merger.take(0.2)

        assert (places(first.due), first.after) == ([(1, 0), (2, 0)], {1: 1, 2: 1})
        assert (places(second.due), second.after) == ([(1, 1)], {1: 2})
        assert first.late == second.late == []
        assert (merger.waiting, merger.size) == (set(), 0)

    def test_marks_what_comes_after_its_time_was_given(self):
        clock = Clock()
        merger = Merger(clock)
        merger.offer(1, [piece(1, 0, clock.now)], None)
        clock.now += 0.3
        merger.take(0.2)

        merger.offer(2, [piece(2, 0, clock.now - 0.5), piece(2, 1, clock.now - 0.25)], None)
        given = merger.take(0.2)

        assert (places(given.late), places(given.due)) == ([(2, 0)], [(2, 1)])

    def test_a_clock_ahead_is_waited_for_no_longer_than_the_window(self):
        clock = Clock()
        merger = Merger(clock)
        merger.offer(1, [piece(1, 0, clock.now + 3600)], None)
        clock.now += 0.2

        assert places(merger.take(0.2).due) == [(1, 0)]

    def test_a_clock_that_steps_back_does_not_turn_a_stream_round(self):
        clock = Clock()
        merger = Merger(clock)
        merger.offer(1, [piece(1, 0, clock.now), piece(1, 1, clock.now - 900)], None)

        given = merger.take(0)

        assert (places(given.due), given.late) == ([(1, 0), (1, 1)], [])

    def test_lines_nobody_wants_move_the_place_and_are_not_given(self):
        merger = Merger(Clock())
        merger.offer(1, [piece(1, 0, 0, b"a"), piece(1, 1, 0, b"b")], lambda each: each.text == b"a")

        given = merger.take(0)

        assert (places(given.due), given.after) == ([(1, 0)], {1: 2})

    def test_what_is_taken_back_is_not_given(self):
        clock = Clock()
        merger = Merger(clock)
        merger.offer(1, [piece(1, at, clock.now) for at in range(3)], None)
        merger.drop(1, 1)
        merger.offer(1, [piece(1, 1, clock.now, b"new")], None)

        given = merger.take(0)

        assert [orjson.loads(each.data)["m"] for each in given.due] == ["x", "new"]
        assert merger.size == 0

    @given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(-400, 0), st.integers(0, 150)), max_size=40))
    def test_gives_each_line_once_in_order_within_its_stream(self, steps):
        clock, counts, out = Clock(), {1: 0, 2: 0, 3: 0}, []
        merger = Merger(clock)
        for stream, delay, pause in steps:
            merger.offer(stream, [piece(stream, counts[stream], clock.now + delay / 1000)], None)
            counts[stream] += 1
            clock.now += pause / 1000
            given = merger.take(0.2)
            out += places(given.late) + places(given.due)
        rest = merger.take(0)
        out += places(rest.late) + places(rest.due)

        for stream, count in counts.items():
            assert [ordinal for each, ordinal in out if each == stream] == list(range(count))
