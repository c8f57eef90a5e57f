"""Segments are joined without a line's place changing, and nothing is deleted that somebody may read."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.logs import compaction, selectors, services, store
from apps.logs.models import LogGarbage, LogSegment
from apps.logs.store import objects, reading

from .conftest import lines_of, record, write

pytestmark = pytest.mark.django_db


def fill(row, commits, *, each=3, is_complete=False):
    for _number in range(commits):
        start = row.line_count
        write(row, [record(start + i, b"line %d" % (start + i)) for i in range(each)])
    if is_complete:
        write(row, [], is_complete=True)


def texts(row):
    return [line.text for line in lines_of(row)]


class TestJoining:
    def test_few_segments_of_a_running_container_are_left_alone(self, make_stream):
        row = make_stream()
        fill(row, compaction.MANY - 1)

        assert not compaction.join_segments(stream_id=row.pk)

        assert row.segments.count() == compaction.MANY - 1
        assert not compaction.due(row.job.cluster_id).exists()

    def test_many_become_one_with_every_line_in_its_place(self, make_stream):
        row = make_stream()
        fill(row, compaction.MANY)
        before = lines_of(row)
        assert list(compaction.due(row.job.cluster_id)) == [row]

        assert compaction.join_segments(stream_id=row.pk)

        (segment,) = row.segments.all()
        assert lines_of(row) == before
        assert (segment.first, segment.records, segment.raw_bytes) == (0, 3 * compaction.MANY, row.byte_count)
        assert segment.name.startswith(f"{row.job.project_id}/{row.job.uid}/{row.pk}-0-")
        assert not compaction.due(row.job.cluster_id).exists()

    def test_a_complete_log_is_joined_whatever_it_has(self, make_stream):
        row = make_stream()
        fill(row, 2, is_complete=True)

        assert compaction.join_segments(stream_id=row.pk)

        assert row.segments.count() == 1
        assert not compaction.join_segments(stream_id=row.pk)

    def test_a_growing_log_is_rewritten_about_log2_times(self, make_stream, monkeypatch):
        monkeypatch.setattr(compaction, "MANY", 4)
        row = make_stream()
        written = []
        encode = compaction.segments.encode
        monkeypatch.setattr(
            compaction.segments, "encode", lambda body, **kw: written.append(len(body)) or encode(body, **kw)
        )
        for _ in range(64):
            fill(row, 4)
            compaction.join_segments(stream_id=row.pk)

        assert texts(row) == [b"line %d" % i for i in range(768)]
        assert row.segments.count() <= 8
        assert sum(written) < 8 * row.byte_count

    def test_a_segment_does_not_grow_past_its_size(self, make_stream, monkeypatch):
        monkeypatch.setattr(compaction, "SEGMENT_BYTES", 500)
        row = make_stream()
        fill(row, 30, is_complete=True)

        while compaction.join_segments(stream_id=row.pk):
            pass

        assert all(segment.raw_bytes <= 500 for segment in row.segments.all())
        assert not row.segments.filter(name__startswith="packs/").exists()
        assert texts(row) == [b"line %d" % i for i in range(90)]

    def test_a_source_made_before_stays_readable_for_an_hour(self, make_stream):
        row = make_stream()
        fill(row, 3, is_complete=True)
        old = selectors.source_of(row)
        compaction.join_segments(stream_id=row.pk)
        reading.forget()
        assert compaction.remove_garbage() == 0

        assert [line.ordinal for line in store.iterate(old)] == list(range(9))

        LogGarbage.objects.update(delete_after=timezone.now() - timedelta(seconds=1))
        assert compaction.remove_garbage() == 3
        reading.forget()
        with pytest.raises(store.Moved):
            list(store.iterate(old))
        assert texts(row) == [b"line %d" % i for i in range(9)]

    def test_a_pack_that_another_stream_still_names_is_kept(self, make_stream):
        one, two = make_stream(pod="a"), make_stream(pod="b")
        fill(one, 1, is_complete=True)
        shared = one.segments.get()
        LogSegment.objects.create(
            stream=two,
            **{
                f.attname: getattr(shared, f.attname) for f in LogSegment._meta.fields if f.name not in ("id", "stream")
            },
        )

        compaction.join_segments(stream_id=one.pk)

        assert not LogGarbage.objects.exists()

    def test_a_stream_deleted_meanwhile_leaves_no_object(self, make_stream, monkeypatch, log_dir):
        row = make_stream()
        fill(row, 2, is_complete=True)
        write_ = objects.write

        def and_delete(name, data):
            write_(name, data)
            row.delete()

        monkeypatch.setattr(compaction.objects, "write", and_delete)

        assert not compaction.join_segments(stream_id=row.pk)

        assert not list((log_dir / str(row.job.project_id)).glob("*/*"))


class TestSweeping:
    def test_removes_old_packs_that_no_row_names(self, make_stream, monkeypatch):
        row = make_stream()
        monkeypatch.setattr(objects.time, "gmtime", lambda: (2026, 1, 1, 5, 0, 0, 0, 1, 0))
        fill(row, 1)
        orphan = objects.pack_name()
        objects.write(orphan, b"of a commit that did not live to tell")
        monkeypatch.undo()
        fresh = objects.pack_name()
        objects.write(fresh, b"of a commit that is under way")

        assert compaction.remove_orphans() == 1

        reading.forget()
        assert texts(row) == [b"line 0", b"line 1", b"line 2"]
        assert objects.read(fresh, 0, 3) == b"of "
        with pytest.raises(FileNotFoundError):
            objects.read(orphan, 0, 3)


class TestDeletedJobs:
    def test_leave_no_object_of_their_own(self, make_stream, log_dir):
        row = make_stream()
        fill(row, 2, is_complete=True)
        compaction.join_segments(stream_id=row.pk)
        name = row.segments.get().name

        row.job.delete()

        assert LogGarbage.objects.filter(name=name).exists()
        assert compaction.remove_garbage() == 1
        assert not (log_dir / name).parent.exists()


class TestCommits:
    def test_refuse_a_stream_that_somebody_opened_since_and_change_nothing(self, make_stream):
        mine, other = make_stream(pod="a"), make_stream(pod="b")
        run = services.ContainerRun("cube-x", other.pod_name, other.pod_uid, other.container, other.restart)
        services.open_stream(job=other.job, run=run)
        entries = [services.Entry(stream=row.pk, epoch=row.epoch, first=0, last_time="x") for row in (mine, other)]

        assert services.commit(name="", entries=entries) == {other.pk}

        mine.refresh_from_db()
        assert (mine.last_time, mine.line_count) == ("", 0)

    def test_refuse_what_does_not_continue(self, make_stream):
        row = make_stream([(1, b"one")])

        for first in (0, 2):
            entry = services.Entry(stream=row.pk, epoch=row.epoch, first=first)
            assert services.commit(name="", entries=[entry]) == {row.pk}

    def test_refuse_a_stream_that_is_gone(self):
        assert services.commit(name="", entries=[services.Entry(stream=999, epoch=1, first=0)]) == {999}
