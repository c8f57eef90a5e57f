from dataclasses import dataclass


@dataclass(frozen=True)
class ProjectCreated:
    project_id: int


@dataclass(frozen=True)
class MembershipChanged:
    """Somebody's role in a project was set or taken away; open sockets ask again."""

    project_id: int
    user_id: int


@dataclass(frozen=True)
class SecretsChanged:
    project_id: int
