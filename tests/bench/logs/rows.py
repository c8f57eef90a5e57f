"""`python -m tests.bench.logs.rows`: migrate the database of the environment and make the rows a run of Cube needs.

In: {"kubeconfig": …, "jobs": [names]}. Out: {"token": …, "project": …, "jobs": {name: {uid, id, namespace, labels}}}.
A process of its own, so that one test run can have several Cubes.
"""

import os
import sys
from typing import Any

import orjson


def make(wish: dict[str, Any]) -> dict[str, Any]:
    from django.core.management import call_command

    from apps.accounts import services as accounts
    from apps.accounts.choices import TokenScope
    from apps.projects.roles import Role
    from apps.projects.services import set_role
    from tests.factories import ClusterFactory, ProjectFactory, TemplateVersionFactory, UserFactory

    call_command("migrate", interactive=False, verbosity=0)
    project, user = ProjectFactory(slug="bench", name="Bench"), UserFactory(username="bench")
    set_role(project=project, user=user, role=Role.DEVELOPER)
    cluster = ClusterFactory(slug="default", is_default=True, kubeconfig=wish["kubeconfig"])
    version = TemplateVersionFactory()
    _, secret = accounts.create_token(user=user, name="bench", scope=TokenScope.WRITE, expires_at=None)
    jobs = {name: _job(name, project=project, cluster=cluster, version=version, user=user) for name in wish["jobs"]}
    return {"token": secret, "project": project.slug, "jobs": jobs}


def _job(name: str, *, project: Any, cluster: Any, version: Any, user: Any) -> dict[str, Any]:
    from django.utils import timezone

    from apps.clusters import labels
    from apps.jobs.models import Attempt, Job
    from apps.quotas.selectors import namespace_name

    now = timezone.now()
    job = Job.objects.create(
        project=project,
        cluster=cluster,
        template_version=version,
        name=name,
        status="running",
        started_at=now,
        submitted_by=user,
    )
    Attempt.objects.create(job=job, number=1, started_at=now)
    held = {labels.KIND: "job", labels.UID: str(job.uid), labels.PROJECT: project.slug, labels.ATTEMPT: "1"}
    return {
        "uid": str(job.uid),
        "id": job.pk,
        "namespace": namespace_name(project),
        "labels": {**labels.MANAGED, **held},
    }


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "cube.settings.base"
    import django

    django.setup()
    sys.stdout.buffer.write(orjson.dumps(make(orjson.loads(sys.stdin.buffer.read()))))
