"""A pipeline's graph as a document: read, judged, compared, written. Nothing here touches a run."""
