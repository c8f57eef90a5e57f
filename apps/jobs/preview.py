"""The manifests of a job as people read them: before submission from a draft, afterwards from the row."""

from typing import Any

import yaml

from apps.clusters.gateway import Manifest
from apps.quotas.selectors import tenancy_of

from . import manifests, selectors
from .models import Job


class _Readable(yaml.SafeDumper):
    """Block style for texts of several lines, so that scripts stay legible; no aliases, which kubectl users dislike."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Readable.add_representer(str, _text)


def manifests_of(job: Job) -> list[Manifest]:
    """Exactly what the launcher sends for the job's current attempt."""
    attempt = selectors.current_attempt(job).number if job.pk else 1
    tenancy = tenancy_of(job.project, job.cluster)
    has_workspace = tenancy.has_workspace if tenancy else job.cluster.has_default_storage
    return manifests.for_job(selectors.plan_for(job, attempt=attempt, has_workspace=has_workspace))


def as_yaml(objects: list[Manifest]) -> str:
    """One document per object, ready for `kubectl apply -f -`."""
    return yaml.dump_all(objects, Dumper=_Readable, sort_keys=False, explicit_start=True, width=110, allow_unicode=True)


def as_answer(job: Job) -> dict[str, Any]:
    objects = manifests_of(job)
    return {"manifests": objects, "yaml": as_yaml(objects)}
