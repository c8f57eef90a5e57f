from dataclasses import dataclass


@dataclass(frozen=True)
class TemplateVersionPublished:
    """A template has a new latest version. Jobs made from older ones keep theirs."""

    template_id: int
    version_id: int
    number: int


@dataclass(frozen=True)
class TemplateAvailabilityChanged:
    template_id: int
    is_enabled: bool
