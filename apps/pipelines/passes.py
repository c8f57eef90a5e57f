"""One locked look at a run: rows are loaded as they are needed, changed in memory, and written once at the end.

Whoever holds a pass holds the run's row lock, so nobody else changes these rows. The run's counters move with every
change of a task's status.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.utils import timezone

from apps.core.bulk import insert_rows, update_rows
from apps.core.events import publish
from apps.jobs.models import Job

from .choices import TASK_ACTIVE, TASK_FINISHED, TaskStatus
from .engine import Advance, Outcome, State, Tally, Verdict, advance, outcome_of, settle
from .events import RunStatusChanged, TasksChanged
from .graph.plan import Plan
from .models import WHOLE, Run, RunEvent, TaskRun, TaskRunQuerySet, TaskTry

MESSAGE_LENGTH = 2000
TOLD = 200  # tasks in a message to browsers
LARGE: tuple[str, ...] = ("params", "outputs", "item")  # read and written only where that is what it is about
STATE = [
    "status", "is_ignored", "reason", "message", "priority", "job", "tries", "failures", "free_failures",
    "memory_factor", "item_count", "items_left", "items_failed", "needs_total", "needs_succeeded", "needs_failed",
    "needs_skipped", "ready_at", "due_at", "started_at", "finished_at",
]  # fmt: skip
RUN_STATE = [
    "status", "version", "reason", "message", "attempt", "started_at", "finished_at", "deadline_at", "checked_at",
    "unfinished_tasks", "active_tasks", "ready_tasks", "failed_tasks", "ignored_tasks", "task_rows", "retries",
    "updated_at",
]  # fmt: skip


class Pass:
    """`run` is locked; `plan` is of its version."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self.run, self.plan, self.now = run, plan, timezone.now()
        self.whole: dict[str, TaskRun] = {}
        self.changed: dict[int, TaskRun] = {}
        self.made: list[TaskRun] = []
        self.submitted: list[tuple[TaskRun, Job]] = []  # tasks with the jobs made for them, whose tries are to be saved
        self.events: list[RunEvent] = []
        self.ended: list[tuple[str, Outcome]] = []
        self.started: list[TaskRun] = []  # to be opened: their needs are met
        self.told: list[tuple[str, int, str]] = []
        self.written: dict[int, TaskRun] = {}
        self.before = run.status, run.reason

    @property
    def has_new_status(self) -> bool:
        return self.before != (self.run.status, self.run.reason)

    # -- reading -----------------------------------------------------------------------------------------------------
    def rows(self) -> TaskRunQuerySet:
        return TaskRun.objects.filter(run=self.run).defer(*LARGE).order_by("id")

    def load(self, keys: Iterable[str]) -> None:
        """Have the rows of these tasks at hand."""
        missing = [key for key in keys if key not in self.whole]
        if missing:
            self.keep(self.rows().filter(index=WHOLE, key__in=missing))

    def load_all(self) -> None:
        self.keep(row for row in self.rows().filter(index=WHOLE) if row.key not in self.whole)

    def keep(self, rows: Iterable[TaskRun]) -> None:
        self.whole |= {row.key: row for row in rows}

    # -- changing ----------------------------------------------------------------------------------------------------
    def move(self, row: TaskRun, status: str, *, reason: str = "", message: str = "") -> None:
        """Give a task another status; counters, times and whoever waits for it follow."""
        self._count(row, -1)
        row.status, row.reason, row.message = status, reason, message[:MESSAGE_LENGTH]
        if status == TaskStatus.READY:
            row.ready_at = row.ready_at or self.now
        if status in TASK_FINISHED:
            row.finished_at, row.due_at = row.finished_at or self.now, None
        self._count(row, 1)
        self.touch(row)
        if status in TASK_FINISHED and not row.is_item:
            self.ended.append((row.key, outcome_of(status, row.is_ignored)))

    def ignore(self, row: TaskRun, ignored: bool) -> None:
        self._count(row, -1)
        row.is_ignored = ignored
        self._count(row, 1)
        self.touch(row)

    def reset(self, row: TaskRun) -> None:
        """As if it had never been tried; how often it was tried stays, for tries have numbers."""
        self._count(row, -1)
        row.status, row.reason, row.message, row.is_ignored = TaskStatus.WAITING, "", "", False
        row.failures = row.free_failures = 0
        row.memory_factor = 1
        row.outputs, row.params = None, None
        row.ready_at = row.due_at = row.started_at = row.finished_at = None
        self._count(row, 1)
        self.touch(row)

    def _count(self, row: TaskRun, by: int) -> None:
        """Add a row to the run's counters, or take it out of them."""
        run = self.run
        if row.item_count is None and row.status in TASK_ACTIVE:
            run.active_tasks += by
        run.ready_tasks += by if row.status == TaskStatus.READY else 0
        if row.is_item:
            return
        if row.status not in TASK_FINISHED:
            run.unfinished_tasks += by
        if row.status == TaskStatus.FAILED:
            run.failed_tasks += 0 if row.is_ignored else by
            run.ignored_tasks += by if row.is_ignored else 0

    def touch(self, row: TaskRun) -> None:
        if row.pk is not None:
            self.changed[row.pk] = row

    def add(self, rows: list[TaskRun]) -> None:
        """New rows, saved with the rest."""
        self.made += rows
        self.run.task_rows += len(rows)
        for row in rows:
            self._count(row, 1)

    def tell(self, text: str, *, row: TaskRun | None = None, reason: str = "", actor: Any = None) -> None:
        status = row.status if row else self.run.status
        self.events.append(
            RunEvent(
                run=self.run,
                at=self.now,
                key=str(row or ""),
                status=status,
                reason=reason,
                text=text[:MESSAGE_LENGTH],
                actor=actor,
            )
        )

    # -- consequences ------------------------------------------------------------------------------------------------
    def propagate(self) -> None:
        """Tell those who wait of what has ended since the last time: neighbours first, all tasks where it goes far."""
        ended, self.ended = self.ended, []
        if not ended:
            return
        self.load(follower for key, _outcome in ended for follower in self.plan.followers[key])
        result = advance(self.plan, self._states(), ended)
        self._apply(result)
        if result.frontier:
            self.load_all()
            self._apply(advance(self.plan, self._states(), result.frontier))

    def settle(self) -> None:
        """The same from scratch, over all tasks. They are loaded first."""
        self.ended = []
        self._apply(settle(self.plan, self._states()))

    def _states(self) -> dict[str, State]:
        return {
            key: State(
                row.status,
                row.is_ignored,
                Tally(row.needs_total, row.needs_succeeded, row.needs_failed, row.needs_skipped),
            )
            for key, row in self.whole.items()
        }

    def _apply(self, result: Advance) -> None:
        for key, tally in result.tallies.items():
            row = self.whole[key]
            kept = row.needs_total, row.needs_succeeded, row.needs_failed, row.needs_skipped
            if kept != (counts := (tally.total, tally.succeeded, tally.failed, tally.skipped)):
                row.needs_total, row.needs_succeeded, row.needs_failed, row.needs_skipped = counts
                self.touch(row)
        known = len(self.ended)
        for key, verdict in result.decided.items():
            row = self.whole[key]
            if verdict is Verdict.START:
                self.started.append(row)
            else:
                self.move(row, verdict.value, reason="Upstream")
        del self.ended[known:]  # The engine has told their followers already.

    # -- writing -----------------------------------------------------------------------------------------------------
    def flush(self) -> None:
        """Write the rows, so that queries see them."""
        flush_all([self])

    def save(self) -> None:
        save_all([self])


def flush_all(looks: Iterable[Pass]) -> None:
    """Write the rows of several passes together. Those that are ready stay at hand."""
    looks = list(looks)
    groups: dict[tuple[str, ...], list[TaskRun]] = {}
    for look in looks:
        for row in look.changed.values():
            groups.setdefault(tuple(name for name in LARGE[:2] if name in row.__dict__), []).append(row)
        look.told += [(row.key, row.index, row.status) for row in (*look.changed.values(), *look.made)]
    for loaded, rows in groups.items():
        update_rows(rows, [*STATE, *loaded])
    insert_rows(row for look in looks for row in look.made)
    insert_rows(
        TaskTry(task=row, number=row.tries, job=job, at=look.now) for look in looks for row, job in look.submitted
    )
    for look in looks:
        look.written |= {row.pk: row for row in (*look.changed.values(), *look.made)}
        look.changed, look.made, look.submitted = {}, [], []


def save_all(looks: Sequence[Pass]) -> None:
    """Write everything in a few statements, however many passes there are, then tell."""
    flush_all(looks)
    insert_rows(event for look in looks for event in look.events)
    _save_runs(looks)
    for look in looks:
        _tell(look)


def _save_runs(looks: Sequence[Pass]) -> None:
    for look in looks:
        look.run.version += bool(look.told or look.events or look.has_new_status)
        look.run.updated_at = look.now
    update_rows([look.run for look in looks], RUN_STATE)


def _tell(look: Pass) -> None:
    run = look.run
    if look.told:
        publish(TasksChanged(run_uid=str(run.uid), tasks=tuple(look.told[-TOLD:]), version=run.version))
    if look.has_new_status:
        announce(run)


def announce(run: Run) -> None:
    publish(
        RunStatusChanged(
            run_id=run.pk,
            run_uid=str(run.uid),
            pipeline_id=run.pipeline_id,
            project_id=run.project_id,
            status=run.status,
            version=run.version,
        )
    )
