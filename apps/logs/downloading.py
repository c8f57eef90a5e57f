"""A whole job as one zip file, one file per pod and container, made while it is sent and never held anywhere."""

from collections.abc import Callable, Iterable, Iterator

from zipstream import ZIP_DEFLATED, ZipStream

from .models import LogStream
from .windows import View, written
from .writers import Form


def zipped(view: View, streams: Iterable[LogStream], form: Callable[[], Form], ending: str) -> Iterator[bytes]:
    """The zip's bytes in pieces. What a job writes while it is read comes with the next download."""
    # Level 1: text shrinks to a tenth at any level, and the time is the reader's.
    archive = ZipStream(compress_type=ZIP_DEFLATED, compress_level=1)
    chosen = [stream for stream in streams if stream.pk in view.sources]
    several = len({stream.attempt_number for stream in chosen}) > 1
    names: set[str] = set()
    for stream in chosen:
        name = _name_of(stream, several=several)
        if name in names:  # A pod's name came again, with another uid.
            name = f"{name}-{stream.pk}"
        names.add(name)
        archive.add(_file(view, stream, form()), f"{name}.{ending}")
    yield from archive


def _file(view: View, stream: LogStream, form: Form) -> Iterator[bytes]:
    form.meet([stream])
    yield from written(view.only({stream.pk}).forwards({}), form)


def _name_of(stream: LogStream, *, several: bool) -> str:
    """Names of pods and containers are those of Kubernetes: nothing in them leads out of a folder."""
    attempt = f"attempt-{stream.attempt_number}/" if several else ""
    restart = f"-restart-{stream.restart}" if stream.restart else ""
    return f"{attempt}{stream.pod_name}/{stream.container}{restart}"
