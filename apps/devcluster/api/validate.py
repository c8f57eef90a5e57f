from __future__ import annotations


def on_create(resource, obj):
    return []


def on_update(resource, obj, old, sub):
    return []
