"""What happens when pipelines, or schedules themselves, announce something."""

from collections import defaultdict
from collections.abc import Iterable

from apps.core.events import subscribe
from apps.core.push import push
from apps.pipelines.choices import RUN_FINISHED
from apps.pipelines.events import RunStatusChanged

from . import tasks
from .events import DeadlinesPassed, ScheduleChanged, SlotsChanged


@subscribe(RunStatusChanged)
def enqueue_record(event: RunStatusChanged) -> None:
    """Slots care for ends; that a run was reopened is found by the sweep."""
    if event.status in RUN_FINISHED:
        tasks.record_runs.delay(run_ids=[event.run_id])


@subscribe(ScheduleChanged)
def tell_schedule_pages(event: ScheduleChanged) -> None:
    _tell(event.project_id, [event.schedule_uid])


@subscribe(SlotsChanged)
def tell_slot_pages(event: SlotsChanged) -> None:
    _tell_all(event.schedules)


@subscribe(DeadlinesPassed)
def tell_late_pages(event: DeadlinesPassed) -> None:
    _tell_all((uid, project_id) for _pk, uid, project_id in event.schedules)


def _tell_all(schedules: Iterable[tuple[str, int]]) -> None:
    uids: dict[int, list[str]] = defaultdict(list)
    for uid, project_id in schedules:
        uids[project_id].append(uid)
    for project_id, changed in uids.items():
        _tell(project_id, changed)


def _tell(project_id: int, uids: list[str]) -> None:
    """One message for all that changed together: a push for each of hundreds would hold up the next ones' start."""
    push(f"project.{project_id}.schedules", {"type": "schedules.changed", "uids": uids})
