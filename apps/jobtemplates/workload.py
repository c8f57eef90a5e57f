"""What a template renders: everything a workload room needs to know, and nothing of Kubernetes.

Pure value objects. Later rooms (pipelines, tuning, notebooks) make manifests from the same ones.
"""

from dataclasses import dataclass, field

WORKSPACE = "/workspace"
FILES = "/cube/files"  # where `files` are mounted, read-only


@dataclass(frozen=True)
class SecretRef:
    """A key of a project secret, given to the container as an environment variable."""

    secret: str
    key: str


@dataclass(frozen=True)
class Workload:
    """With several `workers`: an Indexed Job behind a headless service; each finds the first at `$CUBE_MASTER_ADDR`."""

    image: str
    command: tuple[str, ...] = ()  # empty: the image's own entry point
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    secret_env: dict[str, SecretRef] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # name -> text
    workers: int = 1
    port: int = 0  # what the first worker listens on, when there are several
    working_dir: str = ""
    interpreter: str = ""  # "python": shown on the devcluster, where images are names only
