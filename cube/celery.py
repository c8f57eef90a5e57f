"""The worker and beat application. Tasks live in each room's tasks.py; the ticks stand in settings."""

import os
from typing import Any

import structlog
from celery import Celery
from celery.signals import worker_process_init, worker_ready
from django.dispatch import receiver
from django_structlog.celery import signals
from django_structlog.celery.steps import DjangoStructLogInitStep

from apps.core import heap

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cube.settings.base")

app = Celery("cube")
app.steps["worker"].add(DjangoStructLogInitStep)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
@worker_process_init.connect
def settle_heap(**_: Any) -> None:
    """Measured: collecting garbage is a twelfth of the processor time of a burst of jobs, nearly all of it in vain."""
    heap.settle()


@receiver(signals.bind_extra_task_metadata)
def name_the_work(task: Any, **_: Any) -> None:
    """Every line of a task says which task it is and what it is about: `job_id`, `cluster_id`, …"""
    about = {name: value for name, value in (task.request.kwargs or {}).items() if name.endswith(("_id", "_uid"))}
    structlog.contextvars.bind_contextvars(task=task.name, **about)
