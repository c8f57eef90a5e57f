"""The deployment's manifests, as kustomize makes them, against the official schemas."""

import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = Path(sys.executable).with_name("kubectl")


def built(folder):
    done = subprocess.run(  # noqa: S603
        [str(KUBECTL), "kustomize", str(ROOT / "k8s_manifests" / folder)], capture_output=True, text=True, check=True
    )
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

    assert names == {"web", "worker", "beat", "watch-cluster", "collect-logs"}
    assert {("ConfigMap", "cube"), ("Secret", "cube")} <= kinds


def test_no_pod_may_do_more_than_the_restricted_profile():
    pods = [d["spec"]["template"]["spec"] for d in built("base") if d["kind"] in ("Deployment", "Job")]

    assert len(pods) == 6
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_the_role_asks_for_no_wildcard():
    rules = next(d for d in built("rbac") if d["kind"] == "ClusterRole")["rules"]

    assert not any("*" in words for rule in rules for words in rule.values())
