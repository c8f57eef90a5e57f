"""The pod that lists a workspace. Pure; as restricted as any job's pod, and read-only."""

from typing import Any

from apps.clusters import labels

from .models import Workspace

MOST_FILES = 5000
MOST_DEPTH = 8
CONTAINER = "main"
USER_ID = 1000

# Runs in the pod; prints one JSON document. Hidden folders and links are left out: links could point anywhere.
# A job may remove a file meanwhile, and names need not be UTF-8.
SCRIPT = f"""
import json, os
root, found, truncated = "/workspace", [], False
for folder, folders, names in os.walk(root):
    depth = folder[len(root):].count(os.sep)
    folders[:] = sorted(f for f in folders if not f.startswith(".")) if depth < {MOST_DEPTH} else []
    for name in sorted(names):
        path = os.path.join(folder, name)
        if name.startswith(".") or os.path.islink(path):
            continue
        if len(found) == {MOST_FILES}:
            truncated = True
            break
        try:
            info = os.stat(path)
        except OSError:
            continue
        shown = os.fsencode(os.path.relpath(path, root)).decode("utf-8", "replace")
        found.append({{"path": shown, "size": info.st_size, "modified": int(info.st_mtime)}})
    if truncated:
        break
print(json.dumps({{"files": found, "truncated": truncated}}))
"""


def pod_name(workspace: Workspace) -> str:
    """Fixed, so that a second request while one is under way adopts the first."""
    return f"workspace-files-{workspace.pk}"


def listing_pod(workspace: Workspace, *, namespace: str, image: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(workspace),
            "namespace": namespace,
            "labels": {**labels.MANAGED, labels.KIND: "workspace", labels.UID: str(workspace.pk)},
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "cube-job",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "activeDeadlineSeconds": 120,
            "affinity": _where_jobs_run(workspace),
            "tolerations": [{"key": labels.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "runAsGroup": USER_ID,
                "fsGroup": USER_ID,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": CONTAINER,
                    "image": image,
                    "command": ["python3", "-c", SCRIPT],
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "64Mi"},
                        "limits": {"cpu": "1", "memory": "256Mi"},
                    },
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "workspace", "mountPath": "/workspace", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "workspace", "persistentVolumeClaim": {"claimName": "workspace"}}],
        },
    }


def _where_jobs_run(workspace: Workspace) -> dict[str, Any]:
    """A volume that one node at a time can mount is where a job of the project uses it, GPUs there or not."""
    jobs = {labels.PROJECT: workspace.project.slug, labels.KIND: "job"}
    term = {"labelSelector": {"matchLabels": jobs}, "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
