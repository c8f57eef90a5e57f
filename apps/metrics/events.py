from dataclasses import dataclass


@dataclass(frozen=True)
class UsageSampled:
    """Something new is known of what a job's pods use."""

    job_id: int
    job_uid: str
