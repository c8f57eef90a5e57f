"""A browser's own description of itself, in the two words by which people know it."""

from django.utils.translation import gettext as _

# The first that is found counts: most browsers also name the ones they descend from.
FAMILIES = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def name_of(user_agent: str) -> str:
    """`Firefox on Windows`; what is unknown is shown as it came."""
    family = next((name for mark, name in FAMILIES if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    if family and system:
        return _("%(browser)s on %(system)s") % {"browser": family, "system": system}
    return user_agent or _("Unknown browser")
