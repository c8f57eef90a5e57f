# ruff: noqa: S311
import os
import random
import uuid
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.logs import lines, store
from apps.logs.lines import NoStamp, Record, Splitter, normal_stamp

from .conftest import record, stamp

UID = uuid.UUID(int=7)


@pytest.fixture
def source():
    path = store.path_of(project_id=1, job_uid=UID, attempt=1, pod_uid="a-b", container="main", restart=0)
    return store.Source(1, path)


def fill(source, records):
    file = store.Appender(source)
    file.append(records)
    file.close()


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
        splitter = Splitter.fresh()

        found = [each for a, b in pairwise(edges) for each in splitter.feed(data[a:b])]

        assert found == [Record(stamp(i, i), b"o", text) for i, text in enumerate(texts)]

    def test_cuts_an_endless_line_into_parts_that_join_to_the_whole(self, monkeypatch):
        monkeypatch.setattr(lines, "PART_BYTES", 100)
        text = random.Random(1).randbytes(1234).replace(b"\n", b"x")
        data = stamp(1) + b" " + text + b"\n" + stamp(2) + b" next\n"
        for size in (1, 7, 99, 5000):
            splitter = Splitter.fresh()

            found = [each for at in range(0, len(data), size) for each in splitter.feed(data[at : at + size])]

            assert b"".join(each.text for each in found[:-1]) == text
            assert {len(each.text) for each in found[:-2]} == {100}
            assert [each.kind for each in found[-2:]] == [b"o", b"o"]
            assert {each.stamp for each in found[:-1]} == {stamp(1)}
            assert found[-1] == record(2, b"next")

    def test_refuses_a_line_of_the_node_itself(self):
        with pytest.raises(NoStamp):
            list(Splitter.fresh().feed(b"unable to retrieve container logs for containerd://x\n"))


class TestFiles:
    def test_reads_back_what_was_written_byte_for_byte(self, source):
        texts = [b"", b"\r50%\r100%", "naïve 日本".encode(), b"\x00\xff\xfe", b" leading", b"x" * 200_000, b""]
        fill(source, [record(i, text) for i, text in enumerate(texts)])

        assert [line.text for line in store.iterate(source)] == texts
        assert [line.text for line in store.backwards(source)] == texts[::-1]
        assert [line.ordinal for line in store.backwards(source)] == [6, 5, 4, 3, 2, 1, 0]
        assert store.count(source) == 7

    @pytest.mark.parametrize("seed", range(6))
    def test_finds_any_window_in_a_large_file(self, source, seed):
        chance = random.Random(seed)
        texts = [b"%d " % i + b"y" * chance.choice([0, 3, 70, 70, 9_000 if seed == 1 else 9]) for i in range(9000)]
        fill(source, [record(i % 3600, text) for i, text in enumerate(texts)])
        if seed % 2:  # A row that knows a place in the file.
            at = chance.randrange(9000)
            size = sum(len(text) + lines.HEAD + 1 for text in texts[:at])
            source = store.Source(1, source.path, at, size)

        for _ in range(60):
            start, number = chance.randrange(9100), chance.randrange(50)
            assert [line.text for line in store.read(source, start, number)] == texts[start : start + number]
            end = chance.randrange(9001)
            back = [line.text for line, _ in zip(store.backwards(source, end), range(number), strict=False)]
            assert back == texts[max(0, end - number) : end][::-1]
        assert [line.ordinal for line in store.tail(source, 5)] == [8995, 8996, 8997, 8998, 8999]
        assert store.count(source) == 9000

    def test_a_torn_end_is_not_shown_and_cut_off_by_the_next_writer(self, source):
        fill(source, [record(1, b"one"), record(2, b"two")])
        whole = store.file_of(source.path).read_bytes()
        for cut in range(1, len(whole) // 2):
            store.file_of(source.path).write_bytes(whole[:-cut])
            store._indexes.clear()
            assert [line.text for line in store.iterate(source)] == [b"one"]
            assert [line.text for line in store.tail(source, 9)] == [b"one"]

            file = store.Appender(source)

            assert (file.lines, file.last) == (1, record(1, b"one"))
            file.append([record(2, b"two")])
            file.close()
            assert store.file_of(source.path).read_bytes() == whole

    def test_says_a_place_of_one_moment_while_another_thread_counts(self, source, monkeypatch):
        count, seen = store.Appender._count, []
        file = store.Appender(source)

        def watched(self, record, size):
            seen.append(self.place)
            count(self, record, size)

        monkeypatch.setattr(store.Appender, "_count", watched)
        file.append([record(1, b"one"), record(2, b"two")])

        assert seen == [(0, 0), (0, 0)]
        assert file.place == (2, store.file_of(source.path).stat().st_size)
        file.close()

    def test_recovers_from_a_row_that_is_behind_or_ahead(self, source):
        fill(source, [record(i, b"%d" % i) for i in range(10)])
        size = len(record(0, b"0").encode())

        for known in (store.Source(1, source.path, 4, 4 * size), store.Source(1, source.path, 10, 10 * size), source):
            file = store.Appender(known, latest=stamp(3))
            assert (file.lines, file.bytes, file.last, file.latest) == (10, 10 * size, record(9, b"9"), stamp(9))
            file.close()
        file = store.Appender(store.Source(1, source.path, 99, 99 * size), latest=stamp(98))
        assert (file.lines, file.latest) == (10, stamp(9))
        file.close()

    def test_has_one_writer(self, source):
        file = store.Appender(source)

        with pytest.raises(store.InUse):
            store.Appender(source)

        file.close()
        store.Appender(source).close()

    def test_a_full_disk_leaves_the_file_as_it_was(self, source, monkeypatch):
        file = store.Appender(source)
        file.append([record(1, b"one")])
        real = os.write

        def full(fd, data):
            if len(data) > 10:
                return real(fd, bytes(data[:10]))
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(store.os, "write", full)
        with pytest.raises(OSError, match="No space"):
            file.append([record(2, b"123456789012345678901234567890" + b"x" * 7)])
        monkeypatch.undo()

        assert (file.lines, store.file_of(source.path).read_bytes()) == (1, record(1, b"one").encode())
        file.append([record(2, b"two")])
        file.close()
        assert [line.text for line in store.iterate(source)] == [b"one", b"two"]


class TestPaths:
    @pytest.mark.parametrize("pod_uid", ["../x", "a/b", "", ".", "a\x00", "a\n", "-a", "é"])
    def test_refuse_a_pod_uid_that_is_none(self, pod_uid):
        with pytest.raises(store.UnsafePath):
            store.path_of(project_id=1, job_uid=UID, attempt=1, pod_uid=pod_uid, container="main", restart=0)

    @pytest.mark.parametrize("container", ["..", "a/..", "A", "", "a.b", "a\n", "x" * 64])
    def test_refuse_a_container_name_that_is_none(self, container):
        with pytest.raises(store.UnsafePath):
            store.path_of(project_id=1, job_uid=UID, attempt=1, pod_uid="a", container=container, restart=0)

    @pytest.mark.parametrize("uid", ["..", "", "../../x", str(UID) + "/..", "."])
    def test_removing_a_job_touches_nothing_else(self, log_dir, source, uid):
        fill(source, [record(1, b"one")])

        with pytest.raises(store.UnsafePath):
            store.remove_job(project_id=1, job_uid=uid)

        assert store.count(source) == 1

    def test_removing_a_job_removes_its_files_twice_over(self, source):
        fill(source, [record(1, b"one")])

        store.remove_job(project_id=1, job_uid=str(UID))
        store.remove_job(project_id=1, job_uid=str(UID))

        assert not store.file_of(source.path).parent.exists()
        assert store.count(source) == 0
