"""How big each ReplicaSet of a Deployment should be: arithmetic from pkg/controller/deployment/{sync,rolling}.go."""

from __future__ import annotations

import copy
import zlib

import orjson

from apps.devcluster.client import Object
from apps.devcluster.controllers.owner import age, leaving

PREFIX = "deployment.kubernetes.io/"
REVISION, HISTORY = f"{PREFIX}revision", f"{PREFIX}revision-history"
DESIRED, MOST = f"{PREFIX}desired-replicas", f"{PREFIX}max-replicas"
NOT_COPIED = (REVISION, HISTORY, DESIRED, MOST, "kubectl.kubernetes.io/last-applied-configuration")
HASH_LABEL = "pod-template-hash"
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
Sizes = list[tuple[Object, int]]


def size(obj: Object) -> int:
    """The replicas asked for."""
    return obj["spec"].get("replicas") or 0


def total(sets: list[Object]) -> int:
    """The replicas asked for by all of them."""
    return sum(map(size, sets))


def count(obj: Object, key: str) -> int:
    """A number in the status."""
    return (obj.get("status") or {}).get(key, 0)


def annotation(obj: Object, key: str) -> int:
    """A number in an annotation; 0 where there is none."""
    text = (obj["metadata"].get("annotations") or {}).get(key, "")
    return int(text) if text.isdigit() else 0


def fenceposts(deployment: Object) -> tuple[int, int]:
    """maxSurge (percentages rounded up) and maxUnavailable (rounded down), not both of them 0."""
    strategy, wanted = deployment["spec"]["strategy"], size(deployment)
    if strategy["type"] != "RollingUpdate":
        return 0, 0
    surge = share(strategy["rollingUpdate"]["maxSurge"], wanted, up=True)
    unavailable = share(strategy["rollingUpdate"]["maxUnavailable"], wanted, up=False)
    return surge, min(wanted, unavailable or (0 if surge else 1))


def share(value: int | str, whole: int, *, up: bool) -> int:
    """A number, or a percentage of `whole`."""
    if isinstance(value, int):
        return value
    percent = int(value.rstrip("%"))
    return -(-percent * whole // 100) if up else percent * whole // 100


def current(deployment: Object, sets: list[Object]) -> Object | None:
    """The (oldest) ReplicaSet that has the Deployment's template."""
    wanted = _bare(deployment["spec"]["template"])
    return next((rs for rs in sorted(sets, key=age) if _bare(rs["spec"]["template"]) == wanted), None)


def _bare(template: Object) -> Object:
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH_LABEL}
    return {"metadata": meta | {"labels": labels}, "spec": template["spec"]}


def new_set(deployment: Object, olds: list[Object]) -> Object:
    """The ReplicaSet for the Deployment's template."""
    template = copy.deepcopy(deployment["spec"]["template"])
    raw = orjson.dumps(template, option=orjson.OPT_SORT_KEYS) + str(count(deployment, "collisionCount")).encode()
    mark = {HASH_LABEL: "".join(LETTERS[ord(digit) % len(LETTERS)] for digit in str(zlib.crc32(raw)))}
    template["metadata"]["labels"] = labels = (template["metadata"].get("labels") or {}) | mark
    selector = copy.deepcopy(deployment["spec"]["selector"])
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | mark
    surge, _ = fenceposts(deployment)
    wanted = size(deployment)
    first = min(wanted, max(0, wanted + surge - total(olds))) if surge or _rolls(deployment) else wanted
    spec = {"replicas": first, "selector": selector, "template": template}
    if deployment["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
    kept = {k: v for k, v in (deployment["metadata"].get("annotations") or {}).items() if k not in NOT_COPIED}
    kept |= sizes_noted(deployment) | {REVISION: str(max((annotation(rs, REVISION) for rs in olds), default=0) + 1)}
    name = f"{deployment['metadata']['name']}-{mark[HASH_LABEL]}"
    return {"metadata": {"name": name, "labels": labels, "annotations": kept}, "spec": spec}


def _rolls(deployment: Object) -> bool:
    return bool(deployment["spec"]["strategy"]["type"] == "RollingUpdate")


def sizes_noted(deployment: Object) -> dict[str, str]:
    """What a ReplicaSet remembers of the size it was made for, to scale in proportion later."""
    return {DESIRED: str(size(deployment)), MOST: str(size(deployment) + fenceposts(deployment)[0])}


def scaled(deployment: Object, sets: list[Object]) -> bool:
    """Whether the Deployment was scaled since its ReplicaSets were last sized."""
    return any(size(rs) and annotation(rs, DESIRED) not in (0, size(deployment)) for rs in sets)


def complete(deployment: Object, status: Object) -> bool:
    """Whether every replica is of the newest template and available."""
    keys = ("updatedReplicas", "replicas", "availableReplicas")
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return seen and all(status.get(key, 0) == size(deployment) for key in keys)


def rolling(deployment: Object, new: Object, olds: list[Object]) -> Sizes:
    """The next step of a rolling update: the new one up, or else old ones down; none while it has to wait."""
    surge, unavailable = fenceposts(deployment)
    wanted, everyone = size(deployment), [*olds, new]
    if size(new) > wanted:
        return [(new, wanted)]
    if more := max(0, min(wanted + surge - total(everyone), wanted - size(new))):
        return [(new, size(new) + more)]
    least, lame = wanted - unavailable, size(new) - count(new, "availableReplicas")
    spare = total(everyone) - least - lame
    if spare <= 0:
        return []
    sizes = {rs["metadata"]["name"]: size(rs) for rs in olds}
    for rs in sorted(olds, key=age):  # First those pods that serve nobody.
        broken = max(0, min(spare, size(rs) - count(rs, "availableReplicas")))
        sizes[rs["metadata"]["name"]] -= broken
        spare -= broken
    free = sum(count(rs, "availableReplicas") for rs in everyone) - least
    for rs in sorted(olds, key=age):
        fewer = max(0, min(free, sizes[rs["metadata"]["name"]]))
        sizes[rs["metadata"]["name"]] -= fewer
        free -= fewer
    return [(rs, sizes[rs["metadata"]["name"]]) for rs in olds if sizes[rs["metadata"]["name"]] != size(rs)]


def proportional(deployment: Object, new: Object | None, olds: list[Object]) -> Sizes:
    """What scaling a Deployment does, also in the middle of a rollout and while it is paused."""
    sets = [*olds, *([new] if new else [])]
    running = [rs for rs in sets if size(rs)]
    latest = new or max(sets, key=age, default=None)
    if len(running) <= 1:
        only = running[0] if running else latest
        return [(only, size(deployment))] if only else []
    if new and size(new) == annotation(new, DESIRED) == count(new, "availableReplicas") == size(deployment):
        return [(rs, 0) for rs in running if rs is not new]
    if not _rolls(deployment):
        return []
    wanted, surge = size(deployment), fenceposts(deployment)[0]
    to_add = (wanted + surge if wanted else 0) - total(running)
    running.sort(key=age, reverse=to_add > 0)  # Among equals the newest grow, the oldest shrink first.
    running.sort(key=size, reverse=True)
    added, sizes = 0, []
    for rs in running:
        part = _proportion(deployment, rs, wanted + surge)
        part = min(part, to_add - added) if to_add > 0 else max(part, to_add - added)
        added += part
        sizes.append((rs, size(rs) + part))
    first, grown = sizes[0]
    return [(first, max(0, grown + to_add - added)), *sizes[1:]]


def _proportion(deployment: Object, rs: Object, most: int) -> int:
    if not size(deployment):
        return -size(rs)
    before = annotation(rs, MOST) or count(deployment, "replicas")
    return int(size(rs) * most / before + 0.5) - size(rs) if before else 0


def expendable(deployment: Object, olds: list[Object]) -> list[Object]:
    """The empty ReplicaSets beyond the revision history, oldest revision first."""
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    alive = sorted((rs for rs in olds if not leaving(rs)), key=lambda rs: annotation(rs, REVISION))
    return [rs for rs in alive[: max(0, len(alive) - limit)] if not (size(rs) or count(rs, "replicas"))]
