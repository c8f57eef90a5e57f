"""Debug sessions: a job's container, idle, for people to open terminals in. docs/debugging.md tells the whole story."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.core.errors import InvalidInput, InvalidTransition

from . import selectors, services
from .drafting import same_work
from .models import Job, Terminal

SHORTEST_SECONDS, USUAL_SECONDS, LONGEST_SECONDS = 60, 3600, 8 * 3600
MOST_TERMINALS = 4  # of one session, at a time
BEAT_SECONDS = 20.0  # between two signs of life of an open terminal
LOST_AFTER = timedelta(seconds=90)
SUFFIX = "-debug"
NAME_LENGTH = 63


def debug_job(*, job: Job, actor: Any, seconds: int = USUAL_SECONDS) -> Job:
    """Start the container of `job` with nothing to do: same image, mounts, environment and resources, one worker.

    It ends `seconds` after its container started, or when it is stopped. Each person has one session of a job at a
    time: asked for again, by a double click or on purpose, it is the one there is. Raises InvalidInput: `seconds` out
    of range, or what the job was made of (a secret, its cluster) is no longer there.
    """
    if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        text = _("Choose between %(least)d and %(most)d seconds; a longer session is opened again when it has ended.")
        raise InvalidInput({"seconds": text % {"least": SHORTEST_SECONDS, "most": LONGEST_SECONDS}})
    source = job.debug_of or job
    with transaction.atomic():
        Job.objects.select_for_update(of=("self",), no_key=True).get(pk=source.pk)  # Two clicks: one after the other.
        return selectors.debug_session(source, actor) or services.submit_job(
            **same_work(job), name=_name(job), time_limit_seconds=seconds, actor=actor, debug_of=source
        )


def _name(job: Job) -> str:
    if job.is_debug:
        return job.name
    return job.name[: NAME_LENGTH - len(SUFFIX)].rstrip("-") + SUFFIX


@transaction.atomic
def open_terminal(*, job_id: int, actor: Any) -> Terminal:
    """Count one more terminal of a session. Raises InvalidTransition when it does not run, or has its fill."""
    job = Job.objects.select_for_update(of=("self",)).select_related("project").get(pk=job_id)
    if not job.has_terminal:
        raise InvalidTransition(_("%s does not run, so there is nothing to open a terminal in.") % job.name)
    now = timezone.now()
    held = job.terminals.filter(closed_at=None, seen_at__gte=now - LOST_AFTER).count()
    if held >= MOST_TERMINALS:
        text = _("%(job)s has %(n)d terminals open already. Close one of them first.")
        raise InvalidTransition(text % {"job": job.name, "n": held})
    terminal = Terminal.objects.create(job=job, user=actor, opened_at=now, seen_at=now)
    _record("terminal.open", terminal, job, actor)
    return terminal


def keep_terminal(*, terminal_id: int) -> bool:
    """A sign of life. False when it counts as closed."""
    return bool(Terminal.objects.filter(pk=terminal_id, closed_at=None).update(seen_at=timezone.now()))


@transaction.atomic
def close_terminal(*, terminal_id: int, why: str) -> None:
    """Closing twice, or after its job was deleted, is fine. `why` is a word for the audit trail."""
    rows = Terminal.objects.select_for_update(of=("self",)).select_related("job__project", "user")
    terminal = rows.filter(pk=terminal_id, closed_at=None).first()
    if terminal is None:
        return
    terminal.closed_at = timezone.now()
    terminal.save(update_fields=["closed_at"])
    _record("terminal.close", terminal, terminal.job, terminal.user, why=why)


def close_lost_terminals(*, limit: int = 200) -> int:
    """Those whose web process died without a word. Returns how many."""
    lost = Terminal.objects.filter(closed_at=None, seen_at__lt=timezone.now() - LOST_AFTER).order_by("seen_at")
    ids = list(lost.values_list("pk", flat=True)[:limit])
    for terminal_id in ids:
        close_terminal(terminal_id=terminal_id, why="lost")
    return len(ids)


def _record(action: str, terminal: Terminal, job: Job, actor: Any, **more: str) -> None:
    detail = {"uid": str(job.uid), "terminal": terminal.pk, **more}
    audit.record(actor=actor, action=action, target=job, project=job.project.slug, detail=detail)
