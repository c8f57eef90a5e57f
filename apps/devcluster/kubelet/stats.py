"""What is measured, in the words of metrics.k8s.io and of the kubelet's `/stats/summary`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from apps.devcluster.client import Object
from apps.devcluster.kubelet.context import NodeContext
from apps.devcluster.kubelet.pod import PodWorker
from apps.devcluster.kubelet.usage import SAMPLE_SECONDS, Sample
from apps.devcluster.loops import now


def pod_metrics(context: NodeContext, workers: Iterable[PodWorker]) -> list[Object]:
    """PodMetrics of all running pods."""
    items = []
    for worker in workers:
        if samples := context.usage.of_pod(worker.uid):
            meta = {key: worker.pod["metadata"].get(key) for key in ("name", "namespace", "labels")}
            containers = [{"name": name, "usage": _usage(sample)} for name, sample in samples.items()]
            items.append({"metadata": meta, **_window(), "containers": containers})
    return items


def node_metrics(context: NodeContext, workers: Iterable[PodWorker]) -> list[Object]:
    """NodeMetrics: the sum over a node's containers, since several declared nodes share one host."""
    totals: dict[str, list[Sample]] = {name: [] for name in context.nodes if name not in context.lost}
    for worker in workers:
        totals[worker.node] += context.usage.of_pod(worker.uid).values()
    return [
        {"metadata": {"name": name}, **_window(), "usage": _usage(_sum(samples))} for name, samples in totals.items()
    ]


def summary(context: NodeContext, workers: Iterable[PodWorker], node: str) -> Object:
    """k8s.io/kubelet/pkg/apis/stats/v1alpha1 Summary, as far as something is measured."""
    everything, pods = [], []
    for worker in workers:
        samples = context.usage.of_pod(worker.uid)
        if worker.node != node or not samples:
            continue
        everything += samples.values()
        reference = {key: worker.pod["metadata"][key] for key in ("name", "namespace", "uid")}
        containers = [{"name": name, **_stats(sample)} for name, sample in samples.items()]
        pods.append({"podRef": reference, "containers": containers, **_stats(_sum(list(samples.values())))})
    return {"node": {"nodeName": node, **_stats(_sum(everything))}, "pods": pods}


def _sum(samples: list[Sample]) -> Sample:
    total = Sample(0, 0, taken=max((sample.taken for sample in samples), default=time.time()))
    for sample in samples:
        total.cpu_seconds += sample.cpu_seconds
        total.nanocores += sample.nanocores
        total.memory_bytes += sample.memory_bytes
    return total


def _stats(sample: Sample) -> Object:
    at = datetime.fromtimestamp(sample.taken, UTC).isoformat().replace("+00:00", "Z")
    nanoseconds = int(sample.cpu_seconds * 1e9)
    cpu = {"time": at, "usageNanoCores": sample.nanocores, "usageCoreNanoSeconds": nanoseconds}
    bytes_held = sample.memory_bytes
    return {"cpu": cpu, "memory": {"time": at, "workingSetBytes": bytes_held, "rssBytes": bytes_held}}


def _usage(sample: Sample) -> dict[str, str]:
    return {"cpu": f"{sample.nanocores}n", "memory": f"{sample.memory_bytes // 1024}Ki"}


def _window() -> dict[str, Any]:
    return {"timestamp": now(), "window": f"{SAMPLE_SECONDS:.0f}s"}
