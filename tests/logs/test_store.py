# ruff: noqa: S311
import random
import uuid
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.logs import lines, store
from apps.logs.lines import Gap, NoStamp, Record, Splitter, gap_of, normal_stamp
from apps.logs.needle import BadNeedle, Needle, required_literals
from apps.logs.store import ngrams, objects, reading, segments

from .conftest import record, stamp

UID = uuid.UUID(int=7)


def fill(*bodies, small=False):
    """A source whose segments hold these lists of records."""
    found, first = [], 0
    for records in bodies:
        encoded = segments.encode(b"".join(each.encode() for each in records), with_filters=small)
        name = objects.pack_name()
        objects.write(name, b"before" + encoded.data + b"after")
        place = name, 6, len(encoded.data), encoded.index_size
        found.append(store.Segment(first, encoded.records, encoded.earliest, encoded.latest, *place))
        first += encoded.records
    return store.Source(1, tuple(found), first)


def records_of(body):
    return [lines.parse_stored(raw) for raw in lines.raw_records(body)]


class TestStamps:
    @pytest.mark.parametrize(
        ("written", "kept"),
        [
            (b"2026-11-24T02:00:00.123456789Z", b"2026-11-24T02:00:00.123456789Z"),
            (b"2026-11-24T10:00:00.1+08:00", b"2026-11-24T02:00:00.100000000Z"),
            (b"2026-11-23T21:30:00-04:30", b"2026-11-24T02:00:00.000000000Z"),
        ],
    )
    def test_are_kept_in_utc_with_nanoseconds(self, written, kept):
        assert normal_stamp(written) == kept

    @pytest.mark.parametrize("text", [b"", b"unable", b"2026-13-24T02:00:00.123456789+00:00", b"2026-11-24 02:00:00Z"])
    def test_refuse_what_is_no_time(self, text):
        with pytest.raises(NoStamp):
            normal_stamp(text)


class TestSplitter:
    texts = st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"\r")), max_size=20)

    @given(texts, st.lists(st.integers(0, 2000), max_size=30))
    def test_gives_the_same_records_however_the_bytes_were_chunked(self, texts, cuts):
        data = b"".join(stamp(i, i) + b" " + text + b"\n" for i, text in enumerate(texts))
        edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        splitter = Splitter()

        found = [each for a, b in pairwise(edges) for each in records_of(splitter.feed(data[a:b]))]

        assert found == [Record(stamp(i, i), b" ", text) for i, text in enumerate(texts)]

    def test_cuts_an_endless_line_into_parts_that_join_to_the_whole(self, monkeypatch):
        monkeypatch.setattr(lines, "PART_BYTES", 100)
        text = random.Random(1).randbytes(1234).replace(b"\n", b"x")
        data = stamp(1) + b" " + text + b"\n" + stamp(2) + b" next\n"
        for size in (1, 7, 99, 5000):
            splitter = Splitter()

            found = [
                each for at in range(0, len(data), size) for each in records_of(splitter.feed(data[at : at + size]))
            ]

            assert b"".join(each.text for each in found[:-1]) == text
            assert {len(each.text) for each in found[:-2]} == {100}
            assert [each.kind for each in found[-2:]] == [b" ", b" "]
            assert {each.stamp for each in found[:-1]} == {stamp(1)}
            assert found[-1] == record(2, b"next")

    def test_refuses_a_line_of_the_node_itself(self):
        with pytest.raises(NoStamp):
            Splitter().feed(b"unable to retrieve container logs for containerd://x\n")

    def test_hands_over_what_came_before_a_line_of_the_node(self):
        good = record(1, b"one").encode() + record(2, b"two").encode()

        with pytest.raises(NoStamp) as refusal:
            Splitter().feed(good + b"failed to create fsnotify watcher: too many open files\n")

        assert refusal.value.before == good


class TestSegments:
    def test_reads_back_what_was_written_byte_for_byte(self):
        texts = [b"", b"\r50%\r100%", "naïve 日本".encode(), b"\x00\xff\xfe", b" leading", b"x" * 900_000, b""]
        source = fill([record(i, text) for i, text in enumerate(texts)])

        assert [line.text for line in store.iterate(source)] == texts
        assert [line.text for line in store.backwards(source)] == texts[::-1]
        assert [line.ordinal for line in store.backwards(source)] == [6, 5, 4, 3, 2, 1, 0]

    @pytest.mark.parametrize("seed", range(4))
    def test_finds_any_window_in_many_segments(self, seed, monkeypatch):
        monkeypatch.setattr(segments, "FRAME_BYTES", 5000)
        chance = random.Random(seed)
        texts = [b"%d " % i + b"y" * chance.choice([0, 3, 70, 70, 9_000 if seed == 1 else 9]) for i in range(3000)]
        edges = [0, *sorted(chance.sample(range(1, 3000), 9)), 3000]
        source = fill(*[[record(i % 3600, texts[i]) for i in range(a, b)] for a, b in pairwise(edges)])

        for _ in range(60):
            start, number = chance.randrange(3100), chance.randrange(50)
            assert [line.text for line in store.read(source, start, number)] == texts[start : start + number]
            end = chance.randrange(3001)
            back = [line.text for line, _ in zip(store.backwards(source, end), range(number), strict=False)]
            assert back == texts[max(0, end - number) : end][::-1]
            assert store.ordinal_at(source, stamp(start)) == min(start, 3000)
        assert [line.ordinal for line in store.tail(source, 5)] == [2995, 2996, 2997, 2998, 2999]

    def test_a_beginning_that_was_removed_keeps_the_numbers(self):
        source = fill([record(i, b"%d" % i) for i in range(5)], [record(i, b"%d" % i) for i in range(5, 9)])
        rest = store.Source(1, source.segments[1:], 9)

        assert [line.ordinal for line in store.iterate(rest)] == [5, 6, 7, 8]
        assert [line.ordinal for line in store.tail(rest, 100)] == [5, 6, 7, 8]
        assert (rest.start, source.start) == (5, 0)

    def test_an_object_that_is_gone_says_so(self):
        source = fill([record(1, b"one")])
        objects.remove(source.segments[0].name)
        reading.forget()

        with pytest.raises(store.Moved):
            list(store.iterate(source))

    def test_a_damaged_frame_is_never_taken_for_a_log(self):
        source = fill([record(i, b"some text %d" % i) for i in range(50)])
        path = Path(objects.storage().path(source.segments[0].name))
        data = bytearray(path.read_bytes())
        data[20] ^= 255
        path.write_bytes(data)
        reading.forget()

        with pytest.raises(Exception, match="decompress"):
            list(store.iterate(source))


class TestScanning:
    WORDS = ["loss", "epoch", "Traceback", "CUDA", "naïve", "ÄPFEL", "x=1", "", "a.b", "50%", "\\", "error:"]

    @given(
        st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), min_size=1, max_size=60),
        st.sampled_from(WORDS[:5] + WORDS[6:7] + ["pfel", "los", "loss epoch", "a.b", "zzz", "\\"]),
        st.booleans(),
        st.booleans(),
    )
    def test_finds_exactly_what_a_look_at_every_line_finds(self, log_dir_of_property, texts, wanted, case, filters):
        source = fill([record(i, text.encode()) for i, text in enumerate(texts)], small=filters)
        needle = Needle(wanted, case=case)

        found = [line.ordinal for line in store.scan(source, needle)]

        same = (lambda text: text) if case else str.lower
        assert found == [i for i, text in enumerate(texts) if same(wanted) in same(text)]

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            (r"^step", [0, 1]),
            (r"\d$", [0, 1, 3]),
            (r"step=\d+ loss", [0, 1]),
            (r"(?i)STEP", [0, 1]),
            (r"2026", []),
            (r"[^\d]$", [2]),
            (r"\s", [0, 1]),
            (r"one|two", [2]),
            (r"x*", [0, 1, 2, 3]),
        ],
    )
    @pytest.mark.parametrize("filters", [True, False])
    def test_knows_regular_expressions_of_a_lines_text_alone(self, pattern, found, filters):
        texts = [b"step=1 loss=2", b"step=22 loss=3", b"two", b"7"]
        source = fill([record(i, text) for i, text in enumerate(texts)], small=filters)

        assert [line.ordinal for line in store.scan(source, Needle(pattern, regex=True, case=True))] == found

    def test_opens_no_frame_that_cannot_hold_the_text(self, monkeypatch):
        monkeypatch.setattr(segments, "FRAME_BYTES", 2000)
        texts = [b"line %d of many" % i for i in range(1000)]
        texts[700] = b"the needle"
        source = fill([record(i, text) for i, text in enumerate(texts)], small=True)
        opened = []
        expanded = reading._expanded
        monkeypatch.setattr(reading, "_expanded", lambda *place: opened.append(place) or expanded(*place))

        assert [line.ordinal for line in store.scan(source, Needle("NEEDLE"))] == [700]
        assert len(opened) == 1

    def test_looks_only_within_times_and_ordinals(self):
        source = fill([record(i, b"same") for i in range(10)], [record(i, b"same") for i in range(10, 20)])
        needle = Needle("same")

        assert [x.ordinal for x in store.scan(source, needle, since=stamp(8), until=stamp(12))] == [8, 9, 10, 11]
        assert [x.ordinal for x in store.scan(source, needle, 9, 11)] == [9, 10]

    @pytest.mark.parametrize("text", ["", "x" * 1001, "a\nb"])
    def test_refuses_what_cannot_be_found(self, text):
        with pytest.raises(BadNeedle):
            Needle(text)

    @pytest.mark.parametrize("pattern", ["(", "a{99999}", r"\1(a)", "(?=x)"])
    def test_refuses_what_re2_does_not_know(self, pattern):
        with pytest.raises(BadNeedle):
            Needle(pattern, regex=True)

    def test_an_expression_that_ruins_others_takes_no_time(self):
        source = fill([record(1, b"a" * 100_000)])

        assert list(store.scan(source, Needle("(a+)+$x", regex=True))) == []

    def test_tells_the_texts_that_a_match_must_hold(self):
        assert required_literals(r"loss=\d+ (abcd|efgh)+ tail(xyzw)+") == ["loss=", " tail", "xyzw"]
        assert required_literals("(?i)abcd") == required_literals("a|bcde") == required_literals("(abcd)?") == []


@pytest.fixture(scope="class")
def log_dir_of_property(tmp_path_factory):
    """Every example writes under names of its own, so that one folder serves them all."""


class TestFilters:
    @given(st.binary(min_size=4, max_size=300), st.data())
    def test_never_miss_a_text_that_is_there(self, body, data):
        start = data.draw(st.integers(0, len(body) - 4))
        end = data.draw(st.integers(start + 4, len(body)))

        needed = [ngrams.grams_of(body[start:end].swapcase())]

        assert ngrams.may_hold(ngrams.filter_of(body), needed)


class TestGapRows:
    def test_carry_what_is_known(self):
        gap = Gap("rotation", "Lines may be missing here.", since="a", until="b", bytes=7)

        assert gap_of(gap.record(stamp(1)).text) == gap
        assert gap_of(b"\xff no JSON") == Gap("unknown", "\ufffd no JSON")


class TestNames:
    @pytest.mark.parametrize("name", ["../x", "packs/../x", "", "packs/2026112410/abc", f"1/{UID}/x", "/etc/passwd"])
    def test_that_are_none_of_ours_are_refused(self, name):
        for act in (lambda: objects.read(name, 0, 1), lambda: objects.write(name, b""), lambda: objects.remove(name)):
            with pytest.raises(objects.UnsafeName):
                act()

    def test_an_object_is_written_once(self):
        name = objects.pack_name()
        objects.write(name, b"first")

        with pytest.raises(OSError, match="already holds"):
            objects.write(name, b"second")

        assert objects.read(name, 0, 99) == b"first"
