"""What laptop mode starts with: people of every role, a project, a first job, a pipeline on a schedule that is watched.
Never part of production.

Safe to repeat. Accounts that were here before us are never touched: their passwords are not ours to know.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.accounts.roles import PlatformRole
from apps.alerts import services as alerts
from apps.jobs import services as jobs
from apps.jobs.models import Job
from apps.jobtemplates.models import TemplateVersion
from apps.pipelines import services as pipelines
from apps.pipelines.graph.documents import read_graph
from apps.pipelines.models import Pipeline
from apps.projects import services as projects
from apps.projects.models import Project
from apps.projects.roles import Role
from apps.schedules import services as schedules
from apps.schedules.choices import CatchUp, Kind, Overlap

PROJECT, WELCOME, DIGITS, EVERY_QUARTER = "demo", "welcome", "Digits", "Digits every 15 minutes"
WATCHED = "Digits fails or is late"
EXAMPLES = settings.BASE_DIR / "apps" / "jobtemplates" / "examples"
FLOW = settings.BASE_DIR / "apps" / "pipelines" / "examples" / "digits"
ADA = "ada"


@dataclass(frozen=True)
class Person:
    username: str
    says: Any  # what this sign-in is for, shown beside it
    platform_role: str = PlatformRole.NONE
    role: str = ""


PEOPLE = (
    Person(ADA, _("owner of the project demo"), role=Role.OWNER),
    Person("dev", _("developer in demo"), role=Role.DEVELOPER),
    Person("viewer", _("viewer in demo"), role=Role.VIEWER),
    Person("admin", _("platform admin"), platform_role=PlatformRole.PLATFORM_ADMIN),
    Person("quota", _("quota manager"), platform_role=PlatformRole.QUOTA_MANAGER),
    Person("auditor", _("auditor"), platform_role=PlatformRole.AUDITOR),
)


@dataclass(frozen=True)
class SignIn:
    username: str
    password: str
    role: str


@dataclass(frozen=True)
class Demo:
    users: tuple[SignIn, ...]
    is_new: bool  # passwords were made just now
    first_job_to_come: int | None  # the welcome job's primary key, when it was submitted just now


def path() -> Path:
    return settings.CUBE_DATA_DIR / "demo.json"


def seed(*, url: str) -> Demo:
    """Templates, people, project and first job, as far as they are missing; sign-ins go to `demo.json`, mode 0600."""
    call_command("install_templates", verbosity=0, stdout=StringIO())
    known = _known_sign_ins()
    fresh = [person for person in PEOPLE if _create(person, known)]
    project = _project(fresh)
    sign_ins = tuple(known[person.username] for person in PEOPLE if person.username in known)
    _keep(url, sign_ins)
    first_job = _first_job(project)
    _first_pipeline(project)
    return Demo(users=sign_ins, is_new=bool(fresh), first_job_to_come=first_job)


def _known_sign_ins() -> dict[str, SignIn]:
    try:
        return {user["username"]: SignIn(**user) for user in json.loads(path().read_text())["users"]}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _keep(url: str, sign_ins: tuple[SignIn, ...]) -> None:
    """Replaced in one step, and never readable by others."""
    body = {"url": url, "project": PROJECT, "users": [asdict(user) for user in sign_ins]}
    draft = path().with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(body, file, indent=2)
    draft.replace(path())


def _create(person: Person, known: dict[str, SignIn]) -> bool:
    if User.objects.filter(username=person.username).exists():
        return False
    password = secrets.token_urlsafe(9)
    accounts.create_user(username=person.username, password=password, platform_role=PlatformRole(person.platform_role))
    known[person.username] = SignIn(person.username, password, str(person.says))
    return True


def _project(fresh: list[Person]) -> Project | None:
    """The demo project with those people in it that we just made. None when somebody else's ada is here."""
    project = Project.objects.filter(slug=PROJECT).first()
    if project is None:
        owner = User.objects.get(username=ADA)
        project = projects.create_project(slug=PROJECT, name="Demo", owner=owner)
    for person in fresh:
        if person.role:
            projects.set_role(project=project, user=User.objects.get(username=person.username), role=Role(person.role))
    return project


def _first_job(project: Project | None) -> int | None:
    if project is None or Job.objects.filter(project=project).exists():
        return None
    version = TemplateVersion.objects.filter(template__slug="python").order_by("-number").first()
    ada = User.objects.filter(username=ADA).first()
    if version is None or ada is None:
        return None
    job = jobs.submit_job(
        project=project,
        name=WELCOME,
        template_version=version,
        params={"image": "python:3.11-slim", "source": "typed", "code": welcome_script()},
        resources={"cpu": "100m~1", "memory": "64Mi~256Mi"},
        actor=ada,
    )
    return int(job.pk)


@transaction.atomic
def _first_pipeline(project: Project | None) -> None:
    """Drawn, run, scheduled and watched once; whoever changes or deletes any of it keeps what they made of it.

    The interval counts from here, so that a Cube that was started for a few minutes runs nothing by itself.
    """
    ada = User.objects.filter(username=ADA).first()
    if project is None or ada is None or Pipeline.objects.filter(project=project).exists():
        return
    pipeline = pipelines.create_pipeline(
        project=project,
        name=DIGITS,
        description="Prepares handwritten digits, trains a model for each seed, tries the best one and draws a report.",
        graph=digits_graph(),
        actor=ada,
    )
    pipelines.start_run(pipeline=pipeline, actor=ada)
    schedules.create_schedule(
        project=project,
        name=EVERY_QUARTER,
        pipeline=pipeline,
        kind=Kind.INTERVAL,
        interval_seconds=15 * 60,
        max_active_runs=1,
        overlap=Overlap.SKIP,
        catch_up=CatchUp.LATEST,
        deadline_seconds=10 * 60,
        actor=ada,
    )
    # Without a channel: a laptop writes to nobody. What it finds is shown on the pages of alerts.
    alerts.create_rule(project=project, name=WATCHED, pipeline=pipeline, actor=ada)


def digits_graph() -> dict[str, Any]:
    """The example's document, each task with the program of its name, so that it needs nothing in the workspace."""
    graph: dict[str, Any] = read_graph((FLOW / "pipeline.yaml").read_text())
    for key, task in graph["tasks"].items():
        task["params"]["code"] = (FLOW / f"{key}.py").read_text()
    return graph


def welcome_script() -> str:
    """A program for any cluster with Python: copies the example scripts to the workspace and says hello."""
    files = {file.name: file.read_text() for file in sorted(EXAMPLES.glob("*.py"))}
    return SCRIPT.replace("__FILES__", "{\n" + "".join(f"    {k!r}: {v!r},\n" for k, v in files.items()) + "}")


SCRIPT = '''\
"""Your first job: it puts a few example programs into the project's workspace."""

import platform
from io import StringIO
from pathlib import Path

EXAMPLES = __FILES__

print(f"Hello from {platform.node()}, Python {platform.python_version()}.", flush=True)
workspace = Path("/workspace")
if workspace.is_dir():
    folder = workspace / "examples"
    folder.mkdir(exist_ok=True)
    for name, text in EXAMPLES.items():
        (folder / name).write_text(text)
        print(f"wrote {folder / name}", flush=True)
    print("Run one: Submit a job, template \\"Python script\\", and pick a file from the workspace.", flush=True)
else:
    print("This cluster offers no workspace, so the examples stay here:", ", ".join(EXAMPLES), flush=True)
print("Everything works. Have fun!", flush=True)
'''
