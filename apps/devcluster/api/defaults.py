from __future__ import annotations


def on_create(resource, obj):
    if resource.key == "namespaces":
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name")
        obj.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        obj["status"] = {"phase": "Active"}
    elif resource.key == "pods":
        obj["status"] = {"phase": "Pending"}


def on_update(resource, obj, old): ...
