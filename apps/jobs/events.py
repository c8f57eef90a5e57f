from dataclasses import dataclass


@dataclass(frozen=True)
class JobQueued:
    """A job waits to be launched: just submitted, or its next attempt is due."""

    job_id: int


@dataclass(frozen=True)
class JobsQueued:
    """Many first attempts wait to be launched: one event for all that were submitted together."""

    job_ids: tuple[int, ...]


@dataclass(frozen=True)
class StopRequested:
    job_id: int


@dataclass(frozen=True)
class JobStatusChanged:
    """The status, or what is said about it, changed; `version` lets a page drop what it already has."""

    job_id: int
    job_uid: str
    project_id: int
    status: str
    version: int


@dataclass(frozen=True)
class PodChanged:
    """A pod of a job appeared or moved on: pages refresh their table."""

    job_id: int
    job_uid: str


@dataclass(frozen=True)
class JobDeleted:
    """The rows are gone; what is left in the cluster and the log store may go too."""

    job_uid: str
    project_id: int
    cluster_id: int
    namespace: str
