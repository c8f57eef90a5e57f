from dataclasses import dataclass


@dataclass(frozen=True)
class PipelineSaved:
    """A new version, or new words about the pipeline."""

    pipeline_id: int
    pipeline_uid: str
    project_id: int
    number: int  # of the newest version


@dataclass(frozen=True)
class RunsQueued:
    """Runs wait to be begun: just started, or reopened. One event for a whole batch."""

    run_ids: tuple[int, ...]
    project_ids: frozenset[int]


@dataclass(frozen=True)
class RunStatusChanged:
    """The status, or what is said about it, changed; `version` lets a page drop what it already has."""

    run_id: int
    run_uid: str
    pipeline_id: int
    project_id: int
    status: str
    version: int


@dataclass(frozen=True)
class TasksChanged:
    """Tasks of a run moved on: (key, index, status) of each, cut where there are too many to tell."""

    run_uid: str
    tasks: tuple[tuple[str, int, str], ...]
    version: int


@dataclass(frozen=True)
class TriesDue:
    """Tasks of a run may be tried again in so many seconds."""

    run_id: int
    seconds: float
