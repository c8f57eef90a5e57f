"""Where lines are kept: compressed segments in a Django storage, found through rows.

    packs/<hour>/<random>              one commit of many streams, about once a second
    <project>/<job uid>/<stream>-<n>…  one stream's larger segment, made of what packs held

A segment, wherever it lies, is a run of zstd frames, the filters of those frames, and an index. Objects are written
once and never changed; which of them count is decided by the rows of the database alone."""

from .reading import Moved, Segment, Source, backwards, iterate, ordinal_at, read, scan, tail

__all__ = ["Moved", "Segment", "Source", "backwards", "iterate", "ordinal_at", "read", "scan", "tail"]
