"""What happens when runs, or the jobs of their tasks, announce something."""

from apps.core.events import subscribe
from apps.core.push import push
from apps.jobs.choices import FINISHED, JobStatus
from apps.jobs.events import JobStatusChanged

from . import selectors, tasks
from .events import PipelineSaved, RunsQueued, RunStatusChanged, TasksChanged, TriesDue

CHUNK = 100  # runs a message: a burst of starts is spread over workers
SOON_SECONDS = 300  # what is due later is left to the sweep, rather than kept by a worker
WORTH_KNOWING = frozenset({JobStatus.RUNNING, *FINISHED})


@subscribe(JobStatusChanged)
def look_at_its_run(event: JobStatusChanged) -> None:
    """Most jobs are no pipeline's; one look into an index tells, where a message to the queue would cost more."""
    if event.status in WORTH_KNOWING and (run_id := selectors.run_of_job(event.job_id)) is not None:
        tasks.wake_run(run_id)


@subscribe(RunsQueued)
def begin_runs(event: RunsQueued) -> None:
    for place in range(0, len(event.run_ids), CHUNK):
        tasks.advance_runs.delay(run_ids=list(event.run_ids[place : place + CHUNK]))
    for project_id in event.project_ids:
        push(f"project.{project_id}.runs", {"type": "runs.changed"})


@subscribe(TriesDue)
def look_when_due(event: TriesDue) -> None:
    if event.seconds <= SOON_SECONDS:
        tasks.advance_run.apply_async(kwargs={"run_id": event.run_id}, countdown=event.seconds)


@subscribe(RunStatusChanged)
def tell_browsers(event: RunStatusChanged) -> None:
    message: dict[str, object] = {
        "type": "run.status_changed",
        "uid": event.run_uid,
        "status": event.status,
        "version": event.version,
    }
    push(f"run.{event.run_uid}", message)
    push(f"project.{event.project_id}.runs", message)


@subscribe(TasksChanged)
def tell_run_page(event: TasksChanged) -> None:
    tasks_told = [list(task) for task in event.tasks]
    push(
        f"run.{event.run_uid}",
        {"type": "run.tasks_changed", "uid": event.run_uid, "tasks": tasks_told, "version": event.version},
    )


@subscribe(PipelineSaved)
def tell_list(event: PipelineSaved) -> None:
    push(
        f"project.{event.project_id}.runs",
        {"type": "pipeline.saved", "uid": event.pipeline_uid, "number": event.number},
    )
