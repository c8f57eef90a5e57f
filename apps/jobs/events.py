from dataclasses import dataclass


@dataclass(frozen=True)
class JobSubmitted:
    job_id: int


@dataclass(frozen=True)
class JobStatusChanged:
    job_id: int
    job_uid: str
    project_id: int
    status: str
    version: int


@dataclass(frozen=True)
class PodChanged:
    """A pod of a job appeared or moved on: pages refresh the table, the log collector may start."""

    job_id: int
    project_id: int
    pod_id: int


@dataclass(frozen=True)
class JobDeleted:
    job_uid: str
    project_id: int
