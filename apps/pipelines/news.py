"""What became of the jobs of a run's tasks."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson
from django.db.models import F
from django.utils.translation import gettext as _

from apps.core.events import publish
from apps.jobs.choices import FINISHED, JobStatus, Reason

from .choices import RunStatus, TaskStatus, Why
from .events import TriesDue
from .graph.limits import MAX_ITEM_OUTPUTS_BYTES, MAX_RUN_RETRIES
from .models import WHOLE, TaskRun
from .opening import fail
from .passes import LARGE, Pass
from .retries import Past, Retry, decide

BATCH = 200  # tasks a pass


def take_in(looks: Sequence[Pass]) -> set[int]:
    """Bring tasks up to date with their jobs. Returns the runs in which there may be more of them."""
    if not looks:
        return set()
    rows, by_run = _moved_on(looks), {look.run.pk: look for look in looks}
    for row in rows:
        look = by_run[row.run_id]
        if not row.is_item:
            look.keep([row])
        _take_in(look, row)
    for look in looks:
        ended = [row for row in rows if row.run_id == look.run.pk and row.is_item and row.is_finished]
        _count_items(look, ended)
    return set(by_run) if len(rows) == BATCH else set()


def _moved_on(looks: Sequence[Pass]) -> list[Any]:
    """Tasks whose jobs moved on, with what the jobs wrote: a task's job has but one attempt."""
    rows = TaskRun.objects.filter(run__in=[look.run for look in looks]).lagging().select_related("job")
    written = {"written": F("job__attempts__outputs"), "written_problem": F("job__attempts__outputs_problem")}
    return list(rows.defer("job__params", "job__resources", *LARGE).annotate(**written).order_by("id")[:BATCH])


def _take_in(look: Pass, row: Any) -> None:
    job = row.job
    if job is None:
        fail(look, row, Why.JOB_DELETED, _("Its job was deleted before it was looked at."))
        return
    if job.started_at and row.started_at is None:
        row.started_at = job.started_at
        look.touch(row)
    if job.status == JobStatus.RUNNING and row.status == TaskStatus.SUBMITTED:
        look.move(row, TaskStatus.RUNNING)
    elif job.status == JobStatus.SUCCEEDED:
        _succeed(look, row)
    elif job.status in FINISHED:
        _settle_failure(look, row, job)


def _succeed(look: Pass, row: Any) -> None:
    if row.written_problem:
        fail(look, row, Why.OUTPUTS, row.written_problem)
        return
    row.outputs = row.written
    look.move(row, TaskStatus.SUCCEEDED)


def _settle_failure(look: Pass, row: TaskRun, job: Any) -> None:
    run = look.run
    if run.status == RunStatus.STOPPING:
        look.move(row, TaskStatus.STOPPED, reason=Reason.STOPPED)
        return
    budget = MAX_RUN_RETRIES - run.retries
    past = Past(row.failures, row.free_failures, row.memory_factor, budget)
    retry = decide(
        look.plan.tasks[row.key].retry_policy,
        past,
        reason=job.reason,
        exit_code=job.exit_code,
        chance=random.random,
    )
    if retry is None:
        fail(look, row, job.reason or Why.JOB, job.message)
    else:
        _try_again(look, row, retry, job)


def _try_again(look: Pass, row: TaskRun, retry: Retry, job: Any) -> None:
    look.run.retries += 1
    row.failures += not retry.is_free
    row.free_failures += retry.is_free
    row.memory_factor = retry.memory_factor
    row.due_at = look.now + timedelta(seconds=retry.delay_seconds)
    look.move(row, TaskStatus.READY, reason=job.reason, message=job.message)
    told = {"number": row.tries, "why": job.message or job.reason, "seconds": round(retry.delay_seconds)}
    text = _("Try %(number)d failed: %(why)s Trying again in %(seconds)d s.") % told
    look.tell(text, row=row, reason=job.reason)
    publish(TriesDue(run_id=look.run.pk, seconds=retry.delay_seconds))


# -- items ------------------------------------------------------------------------------------------------------------
def _count_items(look: Pass, items: list[Any]) -> None:
    look.load({item.key for item in items})
    for item in items:
        count_item(look, item)


def count_item(look: Pass, item: TaskRun) -> None:
    """Tell a task that one of its items has ended. The task's row is loaded."""
    parent = look.whole[item.key]
    parent.items_left -= 1
    parent.items_failed += failed(item)
    look.touch(parent)


def failed(item: TaskRun) -> bool:
    return not item.is_ignored and item.status in {TaskStatus.FAILED, TaskStatus.STOPPED}


def conclude(look: Pass) -> None:
    """End the tasks whose items have all ended. Rows are written first: outputs are gathered from them."""
    done = [r for r in look.whole.values() if r.item_count and not r.items_left and r.status == TaskStatus.RUNNING]
    if not done:
        return
    look.flush()
    for row in done:
        if look.run.status == RunStatus.STOPPING:
            look.move(row, TaskStatus.STOPPED, reason=Why.STOPPED)
        elif row.items_failed:
            told = {"failed": row.items_failed, "count": row.item_count}
            fail(look, row, Why.ITEMS, _("%(failed)d of %(count)d items failed.") % told)
        else:
            _gather(look, row)


def _gather(look: Pass, row: TaskRun) -> None:
    """The lists of the items' outputs, by name, in the order of the items."""
    items = TaskRun.objects.filter(run=look.run, key=row.key).exclude(index=WHOLE).order_by("index")
    written = [outputs or {} for outputs in items.values_list("outputs", flat=True)]
    names = sorted({name for outputs in written for name in outputs})
    gathered = {name: [outputs.get(name) for outputs in written] for name in names}
    if len(orjson.dumps(gathered)) > MAX_ITEM_OUTPUTS_BYTES:
        size = {"size": MAX_ITEM_OUTPUTS_BYTES // 1024}
        fail(look, row, Why.OUTPUTS, _("Its items wrote more than %(size)d KiB of outputs altogether.") % size)
        return
    row.outputs = gathered
    look.move(row, TaskStatus.SUCCEEDED)
