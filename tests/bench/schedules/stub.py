"""A cluster whose API takes ten milliseconds. What it accepts is appended to a file that outlives kill -9.

A name that is taken answers 409, as an API server would, so that a launch that comes twice is one object.
"""

import os
import time
import uuid
from pathlib import Path
from typing import Any

from apps.clusters.gateway import AlreadyExists, Manifest, NotFound, ObjectRef, Unavailable
from apps.clusters.gateway.fake import FakeGateway
from tests.bench.schedules import deaths

LATENCY_SECONDS = 0.01
FOLDER = Path(os.environ.get("CUBE_BENCH_STUB", "/nonexistent"))


class StubGateway(FakeGateway):
    """The in-memory gateway for everything but Jobs, which are files: all processes see the same ones."""

    def create(self, manifest: Manifest) -> Manifest:
        time.sleep(LATENCY_SECONDS)
        if manifest["kind"] != "Job":
            return super().create(manifest)
        made = {**manifest, "metadata": {**manifest["metadata"], "uid": str(uuid.uuid4())}}
        draft = FOLDER.with_name(f"{made['metadata']['uid']}.new")
        draft.write_text(f"{time.time()} {manifest['metadata']['labels']['cube.io/uid']}")
        try:  # A link is whole or not there, and refuses a name that is taken: as the API server does.
            (FOLDER / manifest["metadata"]["name"]).hardlink_to(draft)
        except FileExistsError:
            raise AlreadyExists("there already", status=409) from None
        finally:
            draft.unlink()
        deaths.die_if_armed(deaths.CREATED)
        return made

    def get(self, ref: ObjectRef) -> Manifest:
        time.sleep(LATENCY_SECONDS)
        if ref.kind != "Job":
            return super().get(ref)
        try:
            _at, uid = (FOLDER / ref.name).read_text().split()
        except FileNotFoundError:
            raise NotFound("no such Job", status=404) from None
        meta = {"name": ref.name, "namespace": ref.namespace, "uid": uid, "labels": {"cube.io/uid": uid}}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta}

    def list(self, api_version: str, kind: str, **asked: Any) -> Any:
        """Nothing ends here, so there is nothing to sweep; and a list without the Jobs would call them lost."""
        if kind == "Job":
            raise Unavailable("the stub lists no Jobs", status=503)
        return super().list(api_version, kind, **asked)

    def apply(self, manifest: Manifest) -> Manifest:
        time.sleep(LATENCY_SECONDS)
        return super().apply(manifest)


def accepted() -> dict[str, float]:
    """Job uid -> when its object was first accepted (epoch seconds)."""
    found = {}
    for path in FOLDER.iterdir():
        at, uid = path.read_text().split()
        found[uid] = float(at)
    return found
