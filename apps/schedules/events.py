from dataclasses import dataclass


@dataclass(frozen=True)
class ScheduleChanged:
    """Saved, paused, resumed or deleted."""

    schedule_id: int
    schedule_uid: str
    project_id: int


@dataclass(frozen=True)
class SlotsChanged:
    """Slots of these schedules moved on. One event for a whole batch: (schedule uid, project) pairs."""

    schedules: frozenset[tuple[str, int]]


@dataclass(frozen=True)
class DeadlinesPassed:
    """Times of these schedules have not ended by their deadline. One event for a whole batch:
    (schedule id, schedule uid, project) triples."""

    schedules: frozenset[tuple[int, str, int]]


@dataclass(frozen=True)
class SlotFailed:
    """A slot's run failed for good."""

    slot_id: int
    schedule_id: int
    project_id: int


@dataclass(frozen=True)
class SchedulePaused:
    """Too many runs failed in a row, so the schedule paused itself."""

    schedule_id: int
    project_id: int
