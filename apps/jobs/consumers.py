import asyncio
import contextlib
import time
from typing import Any, ClassVar

import structlog
from channels.db import database_sync_to_async

from apps.clusters.gateway import GatewayError, Unavailable, open_streams
from apps.core.errors import DomainError
from apps.projects.consumers import MALFORMED, SIGNED_OUT, TAKEN_AWAY, ProjectConsumer, WholeProjectConsumer

from . import debugging, selectors
from .choices import JobStatus
from .manifests import CONTAINER
from .models import Job, Pod, Terminal
from .relay import Overrun, Relay

DONE, IDLE, FULL, OVER, BROKE = 1000, 4408, 4409, 4410, 4502
ENDINGS = {  # as the audit trail says them
    DONE: "ended", IDLE: "idle", OVER: "session ended", BROKE: "broke off",
    MALFORMED: "malformed", SIGNED_OUT: "signed out", TAKEN_AWAY: "access taken away",
}  # fmt: skip
LARGEST_ORDER = 1024
MOST_CELLS = 1000  # columns, and rows, of a terminal
# A shell knows its terminal by this name; bash where there is one, since it is kinder to people.
SHELL = ["sh", "-c", "export TERM=xterm-256color; command -v bash >/dev/null 2>&1 && exec bash; exec sh"]
logger = structlog.get_logger(__name__)


class JobConsumer(ProjectConsumer):
    """The live state of one job: where it stands now, then each change. Thin: the page fetches what is protected."""

    perm = "view_project"

    def find(self) -> Job | None:
        uid = self.scope["url_route"]["kwargs"]["uid"]
        return Job.objects.visible_to(self.scope["user"], self.perm).filter(uid=uid).first()

    def group_names(self) -> list[str]:
        return [f"job.{self.watched.pk}"]

    def snapshot(self) -> dict[str, object]:
        job = self.watched
        job.refresh_from_db(fields=["status", "version"])
        return {"type": "job.status_changed", "uid": str(job.uid), "status": job.status, "version": job.version}

    async def job_status_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)

    async def job_pods_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)

    async def job_usage_sampled(self, event: dict[str, Any]) -> None:
        await self.send_json(event)


class ProjectJobsConsumer(WholeProjectConsumer):
    """The live state of a project's jobs, for its list."""

    topic = "jobs"

    async def job_status_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)


class TerminalConsumer(ProjectConsumer):
    """A shell in a debug session: `ws/jobs/<uid>/terminal/`. docs/debugging.md holds every message.

    Binary frames are the terminal's bytes, text frames are orders as JSON. Close codes besides the door's: 4408 nothing
    happened for long, 4409 the session has its fill of terminals, 4410 the session ends, 4502 the cluster broke it off.
    """

    perm = "debug_job"
    idle_seconds: ClassVar[float] = 30 * 60
    beat_seconds: ClassVar[float] = debugging.BEAT_SECONDS
    relay: Relay | None = None
    terminal: Terminal | None = None
    serving: "asyncio.Task[None] | None" = None
    beating: "asyncio.Task[None] | None" = None
    why: str = "left"
    shut: bool = False
    size: tuple[int, int] = (80, 24)

    def find(self) -> Job | None:
        uid = self.scope["url_route"]["kwargs"]["uid"]
        jobs = Job.objects.visible_to(self.scope["user"], self.perm).select_related("cluster", "project")
        return jobs.filter(uid=uid, is_debug=True, status=JobStatus.RUNNING).first()

    def group_names(self) -> list[str]:
        return [f"job.{self.watched.pk}"]

    def snapshot(self) -> dict[str, object]:
        self.watched.refresh_from_db(fields=["status", "version"])
        return {"type": "terminal.joined", "status": self.watched.status, "idle_seconds": self.idle_seconds}

    # -- the door ----------------------------------------------------------------------------------------------------
    async def connect(self) -> None:
        await super().connect()
        if self.guard is not None and not self.ended:  # welcome
            self.serving = asyncio.create_task(self.serve())

    async def disconnect(self, code: int) -> None:
        await self.stop()
        await super().disconnect(code)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Not one byte more once access is gone."""
        if self.shut:  # Two reasons at once: one close is enough.
            return
        self.shut, self.why = True, ENDINGS.get(code or DONE, str(code))
        await self.stop()
        await super().close(code=code, reason=reason)

    async def stop(self) -> None:
        """End what runs, and count the terminal as closed. May be called from within, and twice."""
        tasks = [task for task in (self.serving, self.beating) if task and task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        terminal, self.terminal = self.terminal, None
        if terminal is not None:
            await database_sync_to_async(debugging.close_terminal)(terminal_id=terminal.pk, why=self.why)

    # -- what comes from the browser ---------------------------------------------------------------------------------
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        if self.shut:
            return
        try:
            if bytes_data is not None:
                self.typed(bytes_data)
            elif text_data is None or len(text_data) > LARGEST_ORDER:
                raise ValueError("too long for an order")
            else:
                self.order(await self.decode_json(text_data))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            await self.close(code=MALFORMED)

    def typed(self, data: bytes) -> None:
        if self.relay is None:
            raise Overrun("typed before the terminal was open")
        self.relay.type(data)

    def order(self, content: Any) -> None:
        """Raises what malformed content raises."""
        match content["type"]:
            case "resize":
                self.size = _cells(content["columns"]), _cells(content["rows"])
                if self.relay is not None:
                    self.relay.resize(*self.size)
            case "drawn" if self.relay is not None and type(content["bytes"]) is int:
                self.relay.drawn(content["bytes"])
            case _:
                raise ValueError("no such order")

    async def job_status_changed(self, event: dict[str, Any]) -> None:
        if event["status"] != JobStatus.RUNNING:
            await self.close(code=OVER)

    async def job_pods_changed(self, event: dict[str, Any]) -> None:
        """Its pod ending ends the terminal by itself."""

    async def job_usage_sampled(self, event: dict[str, Any]) -> None:
        """The terminal shows none of it."""

    # -- what comes from the container -------------------------------------------------------------------------------
    async def serve(self) -> None:
        try:
            code = await self.converse()
        except asyncio.CancelledError:
            raise
        except DomainError as refusal:
            await self.tell_and_close(refusal)
        except Exception:  # A program error is no reason to leave somebody before a dead screen.
            logger.exception("a terminal broke", job=str(self.watched.uid))
            await self.close(code=BROKE)
        else:
            await self.send_json({"type": "terminal.ended", "exit_code": code})
            await self.close(code=DONE)

    async def tell_and_close(self, refusal: DomainError) -> None:
        await self.send_json({"type": "terminal.refused", "text": str(refusal)})
        await self.close(code=_code_of(refusal))

    async def converse(self) -> int:
        """From the first byte to the shell's exit code."""
        self.terminal, pod = await database_sync_to_async(self.open)()
        streams = open_streams(self.watched.cluster)
        try:
            async with streams.exec(
                namespace=selectors.namespace_name(self.watched.project),
                pod=pod.name,
                container=CONTAINER,
                command=SHELL,
            ) as execution:
                self.relay = Relay(execution, show=self.show, took=self.took)
                self.relay.resize(*self.size)
                self.beating = asyncio.create_task(self.beat())
                await self.send_json({"type": "terminal.opened"})
                return await self.relay.run()
        finally:
            self.relay = None
            await streams.close()

    def open(self) -> tuple[Terminal, Pod]:
        """Runs in a thread. Raises InvalidTransition."""
        terminal = debugging.open_terminal(job_id=self.watched.pk, actor=self.scope["user"])
        self.terminal = terminal  # from here on `stop` closes it
        pod = selectors.pod_with_terminal(self.watched)
        if pod is None:
            raise Unavailable("The session's pod is being replaced.")
        return terminal, pod

    async def show(self, data: bytes) -> None:
        if not (self.ended or self.shut):
            await self.send(bytes_data=data)

    async def took(self, count: int) -> None:
        await self.send_json({"type": "terminal.took", "bytes": count})

    async def beat(self) -> None:
        """Signs of life for the count of terminals, until nothing has happened for long."""
        with contextlib.suppress(asyncio.CancelledError):
            while self.relay is not None and time.monotonic() - self.relay.used_at < self.idle_seconds:
                await asyncio.sleep(self.beat_seconds)
                if self.terminal is not None:
                    await database_sync_to_async(debugging.keep_terminal)(terminal_id=self.terminal.pk)
            await self.close(code=IDLE)


def _cells(value: Any) -> int:
    """Raises ValueError."""
    if type(value) is not int or not 1 <= value <= MOST_CELLS:
        raise ValueError("not a size")
    return value


def _code_of(refusal: DomainError) -> int:
    """Trying again may help after the first two; a container without a shell stays one."""
    match refusal:
        case Unavailable():
            return BROKE
        case GatewayError():
            return DONE
    return FULL
