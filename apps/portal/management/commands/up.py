"""`manage.py up`: all of Cube on this machine, until Ctrl-C."""

import logging
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection

from apps.clusters.choices import Health
from apps.clusters.models import Cluster
from apps.core.errors import DomainError
from apps.jobs.choices import FINISHED, JobStatus
from apps.jobs.models import Job
from apps.portal import demo, laptop
from apps.portal.supervisor import AlreadyRunning, StartFailed, Supervisor, only_one
from apps.portal.supervisor.running import StopRequested
from apps.portal.supervisor.valkey import answers


class Command(BaseCommand):
    help = "Run every part of Cube on this machine: web, worker, beat, watcher, log collector, and what they need."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", default=laptop.port_from_environment(), help="default: CUBE_PORT, or 8000")
        parser.add_argument("--no-demo", action="store_true", help="seed no demo users, project or job")
        parser.add_argument("--verbose", action="store_true", help="show every process's log lines here too")
        parser.add_argument("--begun", type=float, default=None, help="when it all began, in seconds since 1970")

    def handle(self, *args: Any, **options: Any) -> None:
        port = _port(options["port"])
        self.url = f"http://{laptop.HOST}:{port}"
        self.begun = options["begun"] or time.time()
        data: Path = settings.CUBE_DATA_DIR
        try:
            with only_one(data / "run" / "up.lock", note=self.url):
                self._up(port=port, with_demo=not options["no_demo"], verbose=options["verbose"])
        except AlreadyRunning as other:
            raise CommandError(
                f"Cube already runs from {data}: {other.note}. Stop it there with Ctrl-C, "
                "or start another one with CUBE_DATA_DIR and CUBE_PORT set."
            ) from None
        except OSError as error:
            raise CommandError(f"Cube cannot use its data folder {data}: {error.strerror or error}.") from None

    def _up(self, *, port: int, with_demo: bool, verbose: bool) -> None:
        logs = settings.CUBE_DATA_DIR / "logs-of-processes"
        supervisor = Supervisor(
            folder=settings.BASE_DIR,
            logs=logs,
            children_file=settings.CUBE_DATA_DIR / "run" / "children.json",
            tell=self._tell,
            verbose=verbose,
        )
        if not laptop.is_free(port):
            raise CommandError(
                f"Port {port} of this machine is taken by another program. Choose another: make up CUBE_PORT={port + 1}"
            )
        _log_to(logs / "up.log")
        supervisor.listen()
        try:
            self._start(supervisor, port=port, with_demo=with_demo)
            supervisor.run(each_second=self._look_at_first_job)
        except StartFailed as failure:
            raise CommandError(str(failure)) from None
        except StopRequested:
            pass
        finally:
            self._tell("Stopping …")
            supervisor.stop()
        self._tell("Everything has stopped.")

    # -- start -------------------------------------------------------------------------------------------------------
    def _start(self, supervisor: Supervisor, *, port: int, with_demo: bool) -> None:
        embedded_cluster = not settings.CUBE_KUBECONFIG
        self._tell(f"Starting Cube {settings.CUBE_VERSION} (data in {settings.CUBE_DATA_DIR})")
        if embedded_cluster:
            supervisor.start(laptop.devcluster())
        self._start_redis(supervisor)
        with self._step("Database"):
            _migrate()
        web = laptop.web(port)
        for program in (*web, laptop.worker(), laptop.ticker()):
            supervisor.start(program)
        with self._step("Built-in cluster" if embedded_cluster else "Cluster"):
            if embedded_cluster:
                supervisor.wait_until_ready("devcluster")
            kubeconfig = laptop.devcluster_kubeconfig() if embedded_cluster else Path(settings.CUBE_KUBECONFIG)
            cluster = _register_cluster(kubeconfig)
        if cluster.health != Health.HEALTHY:
            self._tell(f"  ! The cluster cannot be used yet; jobs wait for it. {cluster.health_message}")
        for program in (laptop.watcher(), laptop.collector(), laptop.beat(), *laptop.shipper()):
            supervisor.start(program)
        self.first_job: int | None = None
        self.demo: demo.Demo | None = None
        if with_demo:
            with self._step("Demo project"):
                self.demo = _seed(self.url)
                self.first_job = self.demo.first_job_to_come
        else:
            call_command("install_templates", verbosity=0, stdout=StringIO())
        supervisor.check_stop()
        with self._step("Web and worker"):
            supervisor.wait_until_ready(*(program.name for program in web), "worker")
        connection.close()
        self._summary()

    def _start_redis(self, supervisor: Supervisor) -> None:
        if settings.CUBE_REDIS_EMBEDDED:
            with self._step("Message broker"):
                supervisor.start(laptop.embedded_valkey())
                supervisor.wait_until_ready("valkey")
        elif not answers(settings.CUBE_REDIS_URL)():
            raise StartFailed("The server of CUBE_REDIS_URL does not answer. Start it, or unset CUBE_REDIS_URL.")

    # -- console -----------------------------------------------------------------------------------------------------
    def _tell(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._tell(f"  ✓ {name} ({time.monotonic() - begun:.1f} s)")

    def _summary(self) -> None:
        lines = [f"Cube is ready after {time.time() - self.begun:.0f} s", "", self.url]
        if self.demo:
            width = max(len(user.username) for user in self.demo.users)
            lines += ["", "Sign in as"]
            for user in self.demo.users:
                password = user.password if self.demo.is_new else ""
                lines.append(f"  {user.username:<{width}}  {password:<16}  {user.role}".replace("  " * 9, "  "))
            lines += [f"Passwords are kept in {demo.path()}"]
        lines += ["", "Ctrl-C stops everything."]
        inner = max(map(len, lines))
        self._tell("╭" + "─" * (inner + 4) + "╮")
        for line in lines:
            self._tell(f"│  {line:<{inner}}  │")
        self._tell("╰" + "─" * (inner + 4) + "╯")

    def _look_at_first_job(self) -> None:
        """Tell once how the seeded job ended, and how long that took from the very beginning."""
        if self.first_job is None:
            return
        try:
            job = Job.objects.filter(pk=self.first_job).only("status", "finished_at", "message").first()
        except DatabaseError:
            return
        finally:
            connection.close()
        if job is None or job.status in FINISHED:
            self.first_job = None
        if job and job.status == JobStatus.SUCCEEDED:
            ended_at = job.finished_at.timestamp() if job.finished_at else time.time()
            self._tell(f"First job succeeded {ended_at - self.begun:.0f} s after start.")
        elif job and job.status in FINISHED:
            self._tell(f"The first job {job.get_status_display().lower()}: {job.message or 'see its page'}")


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise CommandError(f"CUBE_PORT is a number from 1 to 65535, not {text!r}.")
    return port


def _log_to(path: Path) -> None:
    """What our own code logs goes beside the processes' logs: the console stays readable."""
    stream = path.open("a")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(stream)


def _migrate() -> None:
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except DatabaseError as error:
        reason = str(error).strip().splitlines()[0]
        raise StartFailed(f"The database cannot be used: {reason}. Check CUBE_DATABASE_URL.") from error


def _register_cluster(kubeconfig: Path) -> Cluster:
    try:
        return laptop.register_cluster(kubeconfig)
    except (DomainError, OSError, UnicodeDecodeError) as error:
        raise StartFailed(f"The cluster of {kubeconfig} cannot be used: {error}") from error


def _seed(url: str) -> demo.Demo:
    try:
        return demo.seed(url=url)
    except DomainError as refusal:
        raise StartFailed(f"The demo project could not be made: {refusal}") from refusal
