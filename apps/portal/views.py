from typing import Any

from django.views.generic import TemplateView

from . import selectors


class Home(TemplateView):
    """Where a signed-in person lands: my projects, what happened last, and whether the clusters are well."""

    template_name = "portal/home.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        cards = selectors.project_cards(self.request.user)
        return super().get_context_data(
            **kwargs,
            cards=cards,
            jobs=selectors.recent_jobs(self.request.user) if cards else [],
            clusters=selectors.clusters(),
            waiting=sum(card.waiting for card in cards),
            active=sum(card.active for card in cards),
        )
