"""What happens when pipelines, schedules, or alerts themselves announce something."""

from collections import defaultdict

from apps.core.events import subscribe
from apps.core.push import push
from apps.pipelines.choices import RunStatus
from apps.pipelines.events import RunStatusChanged
from apps.schedules.events import DeadlinesPassed, ScheduleChanged, SchedulePaused, SlotFailed, SlotsChanged

from . import selectors, tasks
from .events import AlertsChanged, DeliveriesQueued


@subscribe(RunStatusChanged)
def look_at_pipeline(event: RunStatusChanged) -> None:
    if event.status in {RunStatus.FAILED, RunStatus.SUCCEEDED} and selectors.is_watched(event.project_id):
        tasks.look.delay(project_id=event.project_id, pipeline_ids=[event.pipeline_id])


@subscribe(SlotFailed, SchedulePaused)
def look_at_schedule(event: SlotFailed | SchedulePaused) -> None:
    if selectors.is_watched(event.project_id):
        tasks.look.delay(project_id=event.project_id, schedule_ids=[event.schedule_id])


@subscribe(DeadlinesPassed)
def look_at_late_ones(event: DeadlinesPassed) -> None:
    late: dict[int, list[int]] = defaultdict(list)
    for schedule_id, _uid, project_id in sorted(event.schedules):
        late[project_id].append(schedule_id)
    for project_id in selectors.watched_projects(late):
        tasks.look.delay(project_id=project_id, schedule_ids=late[project_id])


@subscribe(SlotsChanged)
def look_for_recovery(event: SlotsChanged) -> None:
    """One look into an index for a whole batch: nearly always none of them has an incident."""
    _look_again([uid for uid, _project in event.schedules])


@subscribe(ScheduleChanged)
def look_at_resumed(event: ScheduleChanged) -> None:
    _look_again([event.schedule_uid])


@subscribe(DeliveriesQueued)
def enqueue_sending(event: DeliveriesQueued) -> None:
    for delivery_id in event.delivery_ids:
        tasks.send_delivery.delay(delivery_id=delivery_id)


@subscribe(AlertsChanged)
def tell_pages(event: AlertsChanged) -> None:
    push(f"project.{event.project_id}.alerts", {"type": "alerts.changed"})


def _look_again(uids: list[str]) -> None:
    for project_id, schedule_ids in selectors.troubled_schedules(uids).items():
        tasks.look.delay(project_id=project_id, schedule_ids=schedule_ids)
