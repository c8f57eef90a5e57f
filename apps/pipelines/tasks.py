"""Celery's doors: an id in, one call. Every one may run twice, late, or never (the sweep comes round)."""

from celery import shared_task

from . import executor, sweep, woken

TOGETHER = 25  # runs a pass
LOST_EXPIRES_SECONDS = 2  # of the tick in settings as well


def wake_run(run_id: int) -> None:
    """Have a run looked at soon. Many calls before somebody looks send one message: they would find the same."""
    if woken.add(run_id):
        advance_woken.delay()


@shared_task
def advance_woken() -> None:
    """Whichever runs were woken by now, some of them together: a message may find that another took its run along."""
    if run_ids := woken.take(TOGETHER):
        advance_runs.run(run_ids=run_ids)


@shared_task
def advance_runs(*, run_ids: list[int]) -> None:
    for run_id in executor.advance_runs(run_ids=run_ids):
        wake_run(run_id)


@shared_task
def advance_run(*, run_id: int) -> None:
    if executor.advance_run(run_id=run_id):
        wake_run(run_id)


@shared_task
def advance_lost() -> None:
    """The tick of each second, for what workers that died had taken (see `apps.jobs.tasks.launch_lost`)."""
    if run_ids := sweep.find_lost(limit=TOGETHER):
        advance_runs.run(run_ids=run_ids)
        if len(run_ids) == TOGETHER:
            advance_lost.apply_async(expires=LOST_EXPIRES_SECONDS)


@shared_task
def sweep_runs() -> None:
    """The tick: find what was forgotten, and let it be looked at."""
    for run_id in sweep.find_forgotten():
        advance_run.apply_async(kwargs={"run_id": run_id}, expires=60)
