"""A collector in small, for tests of those who read: announces, and stores some time after."""

from channels.db import database_sync_to_async
from django.utils import timezone

from apps.logs import hot
from apps.logs.models import LogStream

from .conftest import write


class Writer:
    """Announcing may fail, as when Redis is away; what is not committed is lost with the writer."""

    def __init__(self, row, job):
        self.row, self.job, self.key, self.client = row, job, hot.key_of(job.uid), hot.connect()
        self.next, self.pending = row.line_count, []

    async def write(self, records, *, announce=True, commit=True):
        if announce:
            await self.announce(self.next, records)
        self.next += len(records)
        self.pending += records
        if commit:
            await self.commit()

    async def announce(self, first, records):
        body = b"".join(record.encode() for record in records)
        await self.client.xadd(self.key, {"b": hot.encode(self.row.pk, self.row.epoch, first, len(records), body)})

    async def commit(self, *, is_complete=False):
        pending, self.pending = self.pending, []
        await database_sync_to_async(write)(self.row, pending, is_complete=is_complete)

    async def crash(self):
        """Another collector takes over from what is stored."""
        self.pending = []
        row = self.row
        await database_sync_to_async(LogStream.objects.filter(pk=row.pk).update)(epoch=row.epoch + 1)
        await database_sync_to_async(row.refresh_from_db)()
        self.next = row.line_count

    async def end(self, *, is_last=True):
        await self.commit(is_complete=True)
        if is_last:
            self.job.status, self.job.finished_at = "succeeded", timezone.now()
            await database_sync_to_async(self.job.save)()
        await self.client.xadd(self.key, {"b": hot.news(self.row.pk)})
        await self.client.aclose()
