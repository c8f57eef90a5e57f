"""The same store on an S3-compatible service, over its real client."""

import boto3
import pytest
from moto import mock_aws

from apps.logs import compaction, store
from apps.logs.store import objects, reading

from .conftest import lines_of, record, write

BUCKET = "cube-logs"


@pytest.fixture(autouse=True)
def bucket(settings, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    settings.STORAGES = settings.STORAGES | {
        "logs": {
            "BACKEND": "apps.logs.store.s3.LogS3Storage",
            "OPTIONS": {"bucket_name": BUCKET, "location": "prod", "region_name": "us-east-1", "file_overwrite": False},
        }
    }
    with mock_aws():
        made = boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield made


def keys(bucket):
    return sorted(each.key for each in bucket.objects.all())


class TestBucket:
    def test_keeps_joins_and_gives_back_lines(self, db, make_stream, bucket):
        row = make_stream()
        for number in range(3):
            write(row, [record(number, b"line %d" % number)])
        write(row, [], is_complete=True)
        packs = keys(bucket)
        assert len(packs) == 3
        assert all(key.startswith("prod/packs/") for key in packs)

        assert compaction.join_segments(stream_id=row.pk)
        compaction.LogGarbage.objects.update(delete_after="2020-01-01T00:00:00Z")
        assert compaction.remove_garbage() == 3

        reading.forget()
        assert [line.text for line in lines_of(row)] == [b"line 0", b"line 1", b"line 2"]
        assert keys(bucket) == [f"prod/{row.segments.get().name}"]

    def test_reads_a_range_as_a_range(self, bucket):
        name = objects.pack_name()
        objects.write(name, b"0123456789")

        assert objects.read(name, 3, 4) == b"3456"

    def test_finds_packs_that_no_row_names(self, db, bucket, monkeypatch):
        monkeypatch.setattr(objects.time, "gmtime", lambda: (2026, 1, 1, 5, 0, 0, 0, 1, 0))
        objects.write(objects.pack_name(), b"orphan")

        assert compaction.remove_orphans() == 1

        assert keys(bucket) == []

    def test_says_that_an_object_is_gone(self, bucket):
        gone = store.Segment(0, 1, b"", b"", objects.pack_name(), 0, 10, 5)

        with pytest.raises(store.Moved):
            list(store.iterate(store.Source(1, (gone,), 1)))
