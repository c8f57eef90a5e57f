"""The deployment's manifests, as kustomize makes them, against the official schemas."""

import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = Path(sys.executable).with_name("kubectl")


def built(folder):
    return kustomize(ROOT / "k8s_manifests" / folder)


def kustomize(folder):
    done = subprocess.run([str(KUBECTL), "kustomize", str(folder)], capture_output=True, text=True, check=True)  # noqa: S603
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("folder", ["base", "rbac", "overlays/example"])
def test_every_manifest_is_valid(folder):
    documents = built(folder)

    for document in documents:
        kubernetes_validate.validate(document, "1.36", strict=True)
    assert len(documents) > 3


def test_the_example_has_every_process_and_what_they_need():
    kinds = {
        (document["kind"], document["metadata"]["name"].rpartition("-")[0]) for document in built("overlays/example")
    }
    names = {d["metadata"]["name"] for d in built("overlays/example") if d["kind"] == "Deployment"}

    assert names == {"web", "worker", "ticker", "beat", "watch-cluster", "collect-logs"}
    assert {("ConfigMap", "cube"), ("Secret", "cube")} <= kinds


def test_an_overlay_adds_the_shipper_of_logs(tmp_path):
    copy = tmp_path / "k8s_manifests"
    shutil.copytree(ROOT / "k8s_manifests", copy)
    overlay = copy / "overlays" / "example" / "kustomization.yaml"
    overlay.write_text(overlay.read_text() + "components:\n  - ../../addons/ship-logs\n")

    documents = kustomize(overlay.parent)

    (shipper,) = [d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"] == "ship-logs"]
    kubernetes_validate.validate(shipper, "1.36", strict=True)
    (container,) = shipper["spec"]["template"]["spec"]["containers"]
    assert shipper["metadata"]["namespace"] == "cube"
    assert container["image"] == "registry.example.com/cube:0.1.0"
    assert container["command"] == ["python", "manage.py", "ship_logs"]
    assert restricted(shipper["spec"]["template"]["spec"])


def restricted(pod):
    """Whether it asks for no more than the restricted profile allows, and bounds its memory."""
    return (
        pod["securityContext"]["runAsNonRoot"] is True
        and pod["automountServiceAccountToken"] is False
        and all(
            container["securityContext"]["allowPrivilegeEscalation"] is False
            and container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            and container["resources"]["limits"]["memory"]
            for container in pod["containers"]
        )
    )


def test_no_pod_may_do_more_than_the_restricted_profile():
    pods = [d["spec"]["template"]["spec"] for d in built("base") if d["kind"] in ("Deployment", "Job")]

    assert len(pods) == 7
    assert all(restricted(pod) for pod in pods)


def test_the_role_may_read_what_pods_use():
    rules = next(d for d in built("rbac") if d["kind"] == "ClusterRole")["rules"]

    assert {"apiGroups": ["metrics.k8s.io"], "resources": ["pods"], "verbs": ["get", "list"]} in rules


def test_the_role_asks_for_no_wildcard():
    rules = next(d for d in built("rbac") if d["kind"] == "ClusterRole")["rules"]

    assert not any("*" in words for rule in rules for words in rule.values())
