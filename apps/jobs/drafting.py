"""What a submission has to be before it is one: every bad field named, nothing saved."""

import uuid as uuids
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from apps.clusters import selectors as capacity
from apps.clusters.models import Cluster, ResourceGroup
from apps.clusters.quantities import Resources
from apps.core.errors import InvalidInput
from apps.jobtemplates import rendering
from apps.jobtemplates.models import TemplateVersion
from apps.jobtemplates.params import secrets_asked
from apps.jobtemplates.schema import clean_params
from apps.projects.models import Project
from apps.projects.selectors import secret_references

from .models import Job

WRITTEN = frozenset({"name", "priority", "max_retries", "time_limit_seconds"})  # fields that people fill in as they are
UNWRITTEN = [field.name for field in Job._meta.fields if field.name not in WRITTEN]


def draft_job(
    *,
    project: Project,
    name: str,
    template_version: TemplateVersion,
    params: Mapping[str, Any],
    resources: Mapping[str, Any] | None = None,
    priority: int = 0,
    cluster: Cluster | None = None,
    resource_group: ResourceGroup | None = None,
    max_retries: int = 0,
    time_limit_seconds: int | None = None,
    needs_outputs: bool = False,
    uid: uuids.UUID | None = None,
    actor: Any = None,
) -> Job:
    """A checked job that is not saved yet: what a preview shows and `submit_job` saves.

    Raises InvalidInput naming every bad field (`name`, `params.<x>`, `resources.<x>`, `cluster`, …).
    """
    errors: dict[str, str | list[str]] = {}
    cleaned, asked = {}, None
    try:
        cleaned = clean_params(template_version.schema, dict(params))
        rendering.render(template_version.body, cleaned)  # says no now rather than when it is launched
    except InvalidInput as refusal:
        errors.update(refusal.fields)
    if secrets := list(secrets_asked(template_version.schema, cleaned)):
        known = set(secret_references(project))
        for place, reference in secrets:
            if reference not in known:  # A pod would wait for it until somebody looks.
                errors[f"params.{place}"] = f"The project has no secret {reference}."
    try:
        asked = Resources.parse(resources)
    except InvalidInput as refusal:
        errors.update(refusal.fields)
    cluster = cluster or capacity.default_cluster()
    if cluster is None:
        errors["cluster"] = "No cluster is registered and enabled yet. Ask a platform admin to add one."
    elif not cluster.is_enabled:
        errors["cluster"] = f"Cluster {cluster.slug} takes no new work at the moment."
    elif resource_group and resource_group.cluster_id != cluster.pk:
        errors["resource_group"] = f"It belongs to another cluster than {cluster.slug}."
    job = Job(
        project=project,
        name=name,
        template_version=template_version,
        params=cleaned,
        resources=asked.as_dict() if asked else {},
        priority=priority,
        cluster=cluster,
        resource_group=resource_group,
        max_retries=max_retries,
        time_limit_seconds=time_limit_seconds,
        needs_outputs=needs_outputs,
        submitted_by=actor,
        uid=uid or uuids.uuid4(),
    )
    try:
        job.clean_fields(exclude=UNWRITTEN)
    except ValidationError as refusal:
        errors.update(refusal.message_dict)
    if errors:
        raise InvalidInput(errors)
    return job


def same_work(job: Job) -> dict[str, Any]:
    """The arguments of `draft_job` that make another job do, where and with what, as this one does."""
    return {
        "project": job.project,
        "template_version": job.template_version,
        "params": job.params,
        "resources": job.resources,
        "priority": job.priority,
        "cluster": job.cluster,
        "resource_group": job.resource_group,
    }
