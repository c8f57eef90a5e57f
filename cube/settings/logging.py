"""Structured logs: one JSON object a line, with request, task and job ids bound by structlog's context."""

from typing import Any

import structlog
import structlog.tracebacks

# Without local variables: they hold passwords, tokens and kubeconfigs.
TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
SHARED = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


# One line when a request or task has ended tells all that the line at its beginning did.
REPETITIVE = frozenset({"request_started", "task_enqueued", "task_started", "task_received"})


def drop_repetitive(logger: Any, method: str, event: Any) -> Any:
    if event.get("event") in REPETITIVE:
        raise structlog.DropEvent
    return event


def logging_config(*, format: str, level: str) -> dict[str, Any]:
    """A dictConfig for stdlib and structlog loggers alike. `format` is "json" or "console"."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            drop_repetitive,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: list[Any] = (
        [TRACEBACKS, structlog.processors.JSONRenderer()]
        if format == "json"
        else [structlog.dev.ConsoleRenderer(colors=False)]
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "cube": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": SHARED,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "cube"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"level": level},
            "django_structlog": {"level": "INFO"},
            "uvicorn.access": {
                "handlers": [],
                "propagate": False,
            },  # django-structlog tells each request once
            "kubernetes": {"level": "WARNING"},
        },
    }
