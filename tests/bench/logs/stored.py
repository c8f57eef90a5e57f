"""`python -m tests.bench.logs.stored JOB [digest]`: what the store holds of a job, through its reading API.

For each stream a line of JSON {pod, container, restart, uid, lines, bytes, digest}; without `digest`, then so many
bytes of records in the kubelet's form, each after its kind: `<kind><stamp> <text>\\n`.
"""

import hashlib
import os
import sys
from typing import Any

import orjson


def records(source: Any) -> tuple[bytes, int]:
    from apps.logs import store

    made = [b"%s%s %s\n" % (line.kind, line.stamp, line.text) for line in store.iterate(source)]
    return b"".join(made), len(made)


def digest(source: Any) -> tuple[str, int, int]:
    """Of the ordinary lines as the kubelet gave them."""
    from apps.logs import lines, store

    seen, count, gaps = hashlib.blake2b(digest_size=16), 0, 0
    for line in store.iterate(source):
        if line.kind == lines.GAP:
            gaps += 1
        else:
            seen.update(b"%s %s\n" % (line.stamp, line.text))
            count += 1
    return seen.hexdigest(), count, gaps


def main(uid: str, *, only_digest: bool) -> None:
    from apps.jobs.models import Job
    from apps.logs import selectors

    streams = selectors.streams_of(Job.objects.get(uid=uid).pk)
    for stream, source in zip(streams, selectors.sources_of(streams), strict=True):
        head: dict[str, Any] = {"pod": stream.pod_name, "uid": stream.pod_uid, "container": stream.container}
        head |= {"restart": stream.restart, "is_complete": stream.is_complete}
        body = b""
        if only_digest:
            head["digest"], head["lines"], head["gaps"] = digest(source)
        else:
            body, head["lines"] = records(source)
            head["bytes"] = len(body)
        sys.stdout.buffer.write(orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE) + body)


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "cube.settings.base"
    import django

    django.setup()
    main(sys.argv[1], only_digest="digest" in sys.argv[2:])
