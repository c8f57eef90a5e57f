"""What a person reads when they may see something but not do it."""

from django.utils.translation import gettext as _

from .models import Project
from .selectors import least_role_with


def sentence(perm: str, project: Project) -> str:
    """Names the least role that would do, so that people know what to ask for."""
    role = least_role_with(perm)
    if role is None:
        return _("This is not allowed in %(project)s.") % {"project": project.name}
    words = {"role": role.label, "project": project.name}
    return _("This needs the role %(role)s or a higher one in %(project)s. An owner can give it.") % words
