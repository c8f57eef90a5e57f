"""Messages on their way out: written in the transaction of what they tell of, sent after it, at least once.

A claim is a lease: whoever dies while sending leaves a message that is due again later, with the same key. Messages of
one incident reach one channel in their order.
"""

from collections.abc import Iterable
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.core.errors import DomainError
from apps.core.events import publish

from . import wording
from .choices import Change, DeliveryStatus
from .events import AlertsChanged, DeliveriesQueued
from .models import Channel, Delivery, Incident
from .notifiers import Message, NotifierError, Refused, Target, connect

MOST_ATTEMPTS = 8
FIRST_DELAY = timedelta(seconds=15)
LONGEST_DELAY = timedelta(minutes=30)
LEASE = timedelta(minutes=2)  # longer than any notifier takes
PROBLEM_LENGTH = 300
logger = structlog.get_logger(__name__)


def tell(incident: Incident, change: Change) -> None:
    """Queue what happened for every channel of the rule. While a snooze lasts nothing is queued, and nothing later.

    Call it within the transaction that changes the incident, whose row the caller holds.
    """
    if incident.is_quiet:
        return
    incident.version += 1
    incident.told_at = timezone.now()
    incident.save(update_fields=["version", "told_at", "updated_at"])
    columns = wording.of_incident(incident, change)
    channels = [channel for channel in incident.rule.channels.all() if channel.is_enabled]
    _queue(
        Delivery(
            project_id=incident.project_id,
            channel=channel,
            incident=incident,
            number=incident.version,
            change=change,
            **columns,
        )
        for channel in channels
    )


def queue_test(channel: Channel) -> Delivery:
    columns = wording.of_test(channel)
    return _queue([Delivery(project_id=channel.project_id, channel=channel, change=Change.TEST, **columns)])[0]


def _queue(deliveries: Iterable[Delivery]) -> list[Delivery]:
    made = Delivery.objects.bulk_create(deliveries)
    if made:
        publish(DeliveriesQueued(delivery_ids=tuple(row.pk for row in made)))
    return made


def drop(pending: Q, *, why: str) -> None:
    """Messages that are not to be sent any more. One that is being sent at this moment may still arrive."""
    rows = Delivery.objects.filter(pending, status=DeliveryStatus.PENDING)
    rows.update(status=DeliveryStatus.DROPPED, problem=why[:PROBLEM_LENGTH])


def send(*, delivery_id: int) -> None:
    """Send one message if it is due and nobody else is sending it. No transaction is open while it travels."""
    delivery = _claim(delivery_id)
    if delivery is None:
        return
    channel = delivery.channel
    if not channel.is_enabled:
        _record_switched_off(delivery)
        return
    try:
        connect(channel.kind).send(target_of(channel), message_of(delivery))
    except (NotifierError, DomainError) as error:
        _record_trouble(delivery, str(error), is_final=isinstance(error, Refused))
    except Exception as error:
        logger.exception("a message could not be sent", delivery_uid=str(delivery.uid))
        _record_trouble(delivery, type(error).__name__, is_final=False)
    else:
        _record_sent(delivery)


def _claim(delivery_id: int) -> Delivery | None:
    now = timezone.now()
    earlier = Delivery.objects.filter(
        channel=OuterRef("channel"), incident=OuterRef("incident"), pk__lt=OuterRef("pk"), status=DeliveryStatus.PENDING
    )
    due = Delivery.objects.filter(pk=delivery_id, status=DeliveryStatus.PENDING, next_at__lte=now)
    if not due.exclude(Exists(earlier)).update(next_at=now + LEASE, attempts=F("attempts") + 1):
        return None
    # The secrets are read while sending, where a lost key is this message's problem and not a crash.
    rows = Delivery.objects.select_related("channel", "project").defer("channel__url", "channel__signing_secret")
    return rows.get(pk=delivery_id)


def target_of(channel: Channel) -> Target:
    """Raises Undecryptable when the key of the channel's secrets is gone."""
    return Target(addresses=tuple(channel.addresses), url=channel.url, signing_secret=channel.signing_secret)


def message_of(delivery: Delivery) -> Message:
    payload = {**delivery.payload, "id": str(delivery.uid), "timestamp": delivery.created_at.isoformat()}
    return Message(key=str(delivery.uid), subject=delivery.subject, text=delivery.text, payload=payload)


@transaction.atomic
def _record_switched_off(delivery: Delivery) -> None:
    drop(Q(pk=delivery.pk), why=_("The channel is switched off."))
    publish(AlertsChanged(project_id=delivery.project_id))


@transaction.atomic
def _record_sent(delivery: Delivery) -> None:
    now = timezone.now()
    row = Delivery.objects.filter(pk=delivery.pk, status=DeliveryStatus.PENDING)
    row.update(status=DeliveryStatus.SENT, sent_at=now, problem="")
    Channel.objects.filter(pk=delivery.channel_id).update(last_sent_at=now, problem="")
    publish(AlertsChanged(project_id=delivery.project_id))
    _wake_next(delivery)


@transaction.atomic
def _record_trouble(delivery: Delivery, problem: str, *, is_final: bool) -> None:
    """Try again later, or give up: refused for good, or tried `MOST_ATTEMPTS` times."""
    problem = problem[:PROBLEM_LENGTH]
    over = is_final or delivery.attempts >= MOST_ATTEMPTS
    row = Delivery.objects.filter(pk=delivery.pk, status=DeliveryStatus.PENDING)
    row.update(
        problem=problem,
        status=DeliveryStatus.FAILED if over else DeliveryStatus.PENDING,
        next_at=timezone.now() + delay_after(delivery.attempts),
    )
    Channel.objects.filter(pk=delivery.channel_id).update(problem=problem)
    publish(AlertsChanged(project_id=delivery.project_id))
    if over:
        _wake_next(delivery)


def _wake_next(delivery: Delivery) -> None:
    """What waited behind this one need not wait for the sweep."""
    if delivery.incident_id is None:
        return
    waiting = Delivery.objects.filter(
        incident=delivery.incident_id, channel=delivery.channel_id, status=DeliveryStatus.PENDING
    )
    if following := waiting.filter(pk__gt=delivery.pk).order_by("pk").values_list("pk", flat=True).first():
        publish(DeliveriesQueued(delivery_ids=(following,)))


def delay_after(attempts: int) -> timedelta:
    return min(LONGEST_DELAY, FIRST_DELAY * 2 ** max(0, attempts - 1))
