from dataclasses import dataclass


@dataclass(frozen=True)
class ListingRequested:
    workspace_id: int


@dataclass(frozen=True)
class ListingChanged:
    workspace_id: int
    project_id: int
