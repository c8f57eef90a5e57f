"""The kubeconfig that lets kubectl and the official clients in as administrator."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from .pki import write_private


def write(path: Path, *, url: str, ca: Path, token: str, name: str = "cube-devcluster") -> None:
    ca_data = base64.b64encode(ca.read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": ca_data}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin", "namespace": "default"}}],
        "current-context": name,
    }
    write_private(path, json.dumps(config, indent=2).encode())  # JSON is YAML, and needs no library
