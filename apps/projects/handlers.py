"""Whoever's access changed is told, so that their open sockets ask again."""

from apps.accounts.events import AccessReduced
from apps.core.events import subscribe
from apps.core.push import push

from .events import MembershipChanged


@subscribe(MembershipChanged)
def tell_member(event: MembershipChanged) -> None:
    push(f"user.{event.user_id}", {"type": "membership.changed", "project_id": event.project_id})


@subscribe(AccessReduced)
def tell_person(event: AccessReduced) -> None:
    push(f"user.{event.user_id}", {"type": "membership.changed", "project_id": None})
