"""What is measured, in the words of metrics.k8s.io and of the kubelet's `/stats/summary`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from apps.devcluster.client import Object
from apps.devcluster.kubelet.context import NodeContext
from apps.devcluster.kubelet.pod import PodWorker
from apps.devcluster.kubelet.usage import SAMPLE_SECONDS, Sample
from apps.devcluster.loops import now, rfc3339
from apps.devcluster.quantities import spell


def pod_metrics(context: NodeContext, workers: Iterable[PodWorker]) -> list[Object]:
    """PodMetrics of all running pods, but for those too young to have been measured over a window."""
    items = []
    for worker in workers:
        if samples := context.usage.rates_of_pod(worker.uid):
            containers = [{"name": name, "usage": _usage(sample)} for name, sample in samples.items()]
            earliest = min(samples.values(), key=lambda sample: sample.taken)
            items.append({**_head(worker.pod["metadata"], earliest), "containers": containers})
    return items


def node_metrics(context: NodeContext, workers: Iterable[PodWorker]) -> list[Object]:
    """NodeMetrics: the sum over a node's containers, since several declared nodes share one host."""
    totals: dict[str, list[Sample]] = {name: [] for name in context.nodes if name not in context.lost}
    for worker in workers:
        totals[worker.node] += context.usage.rates_of_pod(worker.uid).values()
    return [
        {**_head(context.nodes[name]["metadata"], total := _sum(samples)), "usage": _usage(total)}
        for name, samples in totals.items()
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
    window = max((sample.window for sample in samples), default=SAMPLE_SECONDS)
    total = Sample(0, 0, window=window, taken=max((sample.taken for sample in samples), default=time.time()))
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


def _head(about: Object, sample: Sample) -> Object:
    """What both kinds begin with. As metrics-server writes it: created when asked for, timed when measured."""
    meta = {key: about[key] for key in ("name", "namespace", "labels") if about.get(key)}
    return {
        "metadata": {**meta, "creationTimestamp": now()},
        "timestamp": rfc3339(sample.taken),
        "window": _go_duration(sample.window),
    }


def _usage(sample: Sample) -> dict[str, str]:
    cores = Decimal(sample.nanocores).scaleb(-9)
    return {"cpu": spell(cores), "memory": spell(Decimal(sample.memory_bytes), binary=True)}


def _go_duration(seconds: float) -> str:
    """As Go prints one, in milliseconds: 1.004s, 1s, 512ms."""
    thousandths = round(seconds * 1000)
    return f"{thousandths}ms" if thousandths < 1000 else f"{thousandths / 1000:g}s"
