"""Kubeconfigs to test with."""

import yaml


def kubeconfig(*, cluster=None, user=None, server="https://cluster.example:6443", **top):
    """A good one, with `cluster`, `user` and top-level values added or replaced; None removes."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": "s3cret-token", **(user or {})}}],
        **top,
    }
    return yaml.safe_dump({key: value for key, value in document.items() if value is not None})
