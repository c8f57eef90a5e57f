"""What a channel or a rule may be. Raises InvalidInput naming every field that is wrong."""

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput
from apps.core.validation import clean

from . import wording
from .choices import ChannelKind
from .models import Channel, Rule
from .notifiers.addresses import problem_of

MOST_ADDRESSES = 20
MOST_CHANNELS = 50  # of a project
MOST_RULES = 200  # of a project
MOST_CHANNELS_OF_RULE = 10
SECRET_LENGTH = 500
OF_CHANNEL = frozenset({"project", "name", "kind"})
OF_RULE = frozenset({"project", "name"})  # what it is about has checks of its own


def check_channel(channel: Channel) -> None:
    _columns(channel, OF_CHANNEL)
    if channel.kind == ChannelKind.EMAIL:
        channel.url, channel.host, channel.signing_secret = "", "", ""
        channel.addresses = _addresses(channel.addresses)
    else:
        channel.addresses = []
        _check_url(channel)
    channel.is_signed = bool(channel.signing_secret)


def _addresses(given: Any) -> list[str]:
    if not isinstance(given, list) or not given:
        raise InvalidInput({"addresses": _("Name at least one e-mail address.")})
    found = list(dict.fromkeys(str(text).strip() for text in given))
    if len(found) > MOST_ADDRESSES:
        raise InvalidInput({"addresses": _("At most %(n)d addresses.") % {"n": MOST_ADDRESSES}})
    for text in found:
        _check_address(text)
    return found


def _check_address(text: str) -> None:
    try:
        validate_email(text)
    except ValidationError:
        told = _("%(text)s is no e-mail address.") % {"text": text[:80]}
        raise InvalidInput({"addresses": told}) from None
    domains = settings.CUBE_ALERT_EMAIL_DOMAINS
    if domains and text.rpartition("@")[2].lower() not in {domain.lower() for domain in domains}:
        told = _("%(text)s: messages go to %(domains)s only.") % {"text": text, "domains": ", ".join(domains)}
        raise InvalidInput({"addresses": told})


def _check_url(channel: Channel) -> None:
    if problem := problem_of(channel.url):
        raise wording.address_problem(problem)
    if len(channel.signing_secret) > SECRET_LENGTH:
        raise InvalidInput({"signing_secret": _("At most %(n)d characters.") % {"n": SECRET_LENGTH}})
    channel.host = (urlsplit(channel.url).hostname or "")[:255]


def check_rule(rule: Rule, channels: Collection[Channel]) -> None:
    _columns(rule, OF_RULE)
    errors: dict[str, str | list[str]] = {}
    for name in ("pipeline", "schedule"):
        about = getattr(rule, name)
        if about is not None and about.project_id != rule.project_id:
            errors[name] = _("There is no such thing in this project.")
    if rule.pipeline_id and rule.schedule_id:
        errors["schedule"] = _("Choose a pipeline or a schedule, not both.")
    if not rule.conditions:
        errors["on_failure"] = _("Choose at least one trouble to tell of.")
    if any(channel.project_id != rule.project_id for channel in channels):
        errors["channels"] = _("There is no such channel in this project.")
    if len(channels) > MOST_CHANNELS_OF_RULE:
        errors["channels"] = _("At most %(n)d channels.") % {"n": MOST_CHANNELS_OF_RULE}
    if errors:
        raise InvalidInput(errors)


def _columns(row: Channel | Rule, written: frozenset[str]) -> None:
    clean(row, exclude={field.name for field in row._meta.fields if field.name not in written})
