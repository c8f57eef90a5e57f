"""What a watch tells that is news."""

from collections import OrderedDict

from apps.clusters.events import WorkloadObserved

from .observation import JobFacts, PodFacts, job_facts, pod_facts

MOST_REMEMBERED = 50_000  # objects


class Sightings:
    """What this process has recorded of each object, so that it is not recorded again.

    A shortcut for the watch alone: losing it costs a repetition, and what it should have let through the sweep, which
    does not ask it, finds within seconds.
    """

    def __init__(self) -> None:
        self._recorded: OrderedDict[str, JobFacts | PodFacts] = OrderedDict()

    def news(self, event: WorkloadObserved) -> JobFacts | PodFacts | None:
        """The facts of an object; None when they lead to nothing, or did already."""
        uid = event.manifest["metadata"]["uid"]
        if event.kind == "Job":
            job = job_facts(event.manifest)
            return job if (job.outcome or event.deleted) and (event.deleted or self._recorded.get(uid) != job) else None
        pod = pod_facts(event.manifest)
        return pod if event.deleted or self._recorded.get(uid) != pod else None

    def remember(self, event: WorkloadObserved, facts: JobFacts | PodFacts) -> None:
        uid = event.manifest["metadata"]["uid"]
        if event.deleted:
            self._recorded.pop(uid, None)
            return
        self._recorded[uid] = facts
        self._recorded.move_to_end(uid)
        while len(self._recorded) > MOST_REMEMBERED:
            self._recorded.popitem(last=False)
