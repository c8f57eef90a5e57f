"""Pages of alerts. Each asks its door (`ProjectPage.perm`), reads rows, and makes one service call per verb."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.views.generic import TemplateView, View

from apps.core.errors import DomainError, InvalidInput
from apps.core.forms import take_errors
from apps.pipelines.models import Pipeline
from apps.projects.pages import ProjectPage
from apps.schedules.models import Schedule

from . import services
from .choices import ChannelKind
from .forms import SPANS, CloseForm, RuleForm, SnoozeForm, channel_form
from .models import Channel, Delivery, Incident, Rule

PAGE = 50
OPEN_SHOWN = 200
MESSAGES_SHOWN = 50


class AlertsPage(ProjectPage):
    """What the pages of the room share: addresses within it, and how many incidents are open."""

    def url(self, name: str, **more: Any) -> str:
        return reverse(f"alerts:{name}", kwargs={"project": self.project.slug, **more})

    def mine(self, model: Any) -> Any:
        return model.objects.visible_to(self.request.user).filter(project=self.project)  # type: ignore[attr-defined]

    def found(self, rows: QuerySet[Any]) -> Any:
        return get_object_or_404(rows, uid=self.kwargs["uid"])  # type: ignore[attr-defined]


class LivePage(AlertsPage, TemplateView):
    """A page that keeps a part of itself fresh: its script asks for that part alone."""

    part_name = ""

    def get_template_names(self) -> list[str]:
        return [self.part_name if self.request.htmx else self.template_name]


# -- incidents --------------------------------------------------------------------------------------------------------
class IncidentList(LivePage):
    """What is open, then what is over, the newest first."""

    perm = "view_project"
    template_name = "alerts/list.html"
    part_name = "alerts/_list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        rows = Incident.objects.visible_to(self.request.user).filter(project=self.project)
        before = self.request.GET.get("before", "")
        past = rows.filter(closed_at__isnull=False)
        if before.isascii() and before.isdigit() and len(before) < 19:
            past = past.filter(pk__lt=int(before))
        shown = list(past.for_lists().order_by("-pk")[: PAGE + 1])
        return super().get_context_data(
            section="incidents",
            open_incidents=rows.open().for_lists().order_by("-pk")[:OPEN_SHOWN],
            past=shown[:PAGE],
            older=shown[PAGE - 1].pk if len(shown) > PAGE else "",
            has_rules=Rule.objects.visible_to(self.request.user).filter(project=self.project).exists(),
            **kwargs,
        )


class OneIncident(AlertsPage):
    @cached_property
    def incident(self) -> Incident:
        return self.found(self.mine(Incident).for_lists())


class IncidentDetail(OneIncident, LivePage):  # type: ignore[misc]
    """What happened, what was told to whom, and the verbs of who is on call."""

    perm = "view_project"
    template_name = "alerts/detail.html"
    part_name = "alerts/_detail.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        sent = self.mine(Delivery).filter(incident=self.incident).select_related("channel")
        return super().get_context_data(
            section="incidents",
            incident=self.incident,
            deliveries=sent.defer("channel__url", "channel__signing_secret").order_by("-pk")[:MESSAGES_SHOWN],
            spans=SPANS,
            **kwargs,
        )


class Verb(AlertsPage, View):
    """A POST that does one thing and comes back with what happened."""

    http_method_names = ["post"]

    def act(self, request: HttpRequest) -> str:
        raise AssertionError("every verb says what it does")

    def home(self) -> str:
        raise AssertionError("every verb says where it leads")

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        home = self.home()
        try:
            messages.success(request, self.act(request))
        except DomainError as refusal:
            messages.error(request, str(refusal))
        return HttpResponseRedirect(home)

    def asked(self, form: SnoozeForm | CloseForm) -> dict[str, Any]:
        """Raises InvalidInput with the fields that are wrong."""
        if not form.is_valid():
            raise InvalidInput({name: [str(text) for text in texts] for name, texts in form.errors.items()})
        return form.asked()


class IncidentVerb(OneIncident, Verb):  # type: ignore[misc]
    perm = "snooze_alert"

    def home(self) -> str:
        return self.url("detail", uid=self.incident.uid)


class SnoozeIncident(IncidentVerb):
    def act(self, request: HttpRequest) -> str:
        services.snooze_incident(incident=self.incident, actor=request.user, **self.asked(SnoozeForm(request.POST)))
        return _("Snoozed. Nothing more is told of it until then.")


class WakeIncident(IncidentVerb):
    def act(self, request: HttpRequest) -> str:
        services.wake_incident(incident=self.incident, actor=request.user)
        return _("The snooze has ended.")


class CloseIncident(IncidentVerb):
    def act(self, request: HttpRequest) -> str:
        services.close_incident(incident=self.incident, actor=request.user, **self.asked(CloseForm(request.POST)))
        return _("Closed. Only something newer opens another.")


# -- rules ------------------------------------------------------------------------------------------------------------
class RuleList(LivePage):
    perm = "view_project"
    template_name = "alerts/rules.html"
    part_name = "alerts/_rules.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        opened = Count("incidents", filter=Q(incidents__closed_at__isnull=True))
        rules = self.mine(Rule).for_lists().annotate(open_count=opened).order_by("name")
        return super().get_context_data(section="rules", rules=rules, spans=SPANS, **kwargs)


class FormPage(AlertsPage, TemplateView):
    """A form that is shown, or saved and left."""

    home_name = ""

    def form(self, data: Any = None) -> Any:
        raise AssertionError("every form page has its form")

    def save(self, form: Any) -> None:
        raise AssertionError("every form page saves")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        form = kwargs.pop("form", None) or self.form()
        return super().get_context_data(form=form, section=self.home_name, **kwargs)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form: forms.Form = self.form(request.POST)
        if form.is_valid():
            try:
                self.save(form)
            except DomainError as refusal:
                take_errors(form, refusal)
            else:
                return HttpResponseRedirect(self.url(self.home_name))
        return self.render_to_response(self.get_context_data(form=form, **kwargs), status=422)


class NewRule(FormPage):
    perm = "edit_alert_rule"
    template_name = "alerts/rule_form.html"
    home_name = "rules"
    rule: Rule | None = None

    def form(self, data: Any = None) -> RuleForm:
        rows = {
            "pipeline": self.mine(Pipeline).filter(is_archived=False).order_by("name"),
            "schedule": self.mine(Schedule).order_by("name"),
            "channels": self.mine(Channel).without_secrets(),
        }
        return RuleForm(data, choices=rows, rule=self.rule)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(rule=self.rule, **kwargs)

    def save(self, form: RuleForm) -> None:
        services.create_rule(project=self.project, actor=self.request.user, **form.cleaned_data)


class OneRule(AlertsPage):
    @cached_property
    def rule(self) -> Rule:
        return self.found(self.mine(Rule).for_lists())


class EditRule(OneRule, NewRule):  # type: ignore[misc]
    perm = "edit_alert_rule"

    def save(self, form: RuleForm) -> None:
        services.edit_rule(rule=self.rule, actor=self.request.user, **form.cleaned_data)


class RuleVerb(OneRule, Verb):  # type: ignore[misc]
    perm = "snooze_alert"

    def home(self) -> str:
        return self.url("rules")


class SnoozeRule(RuleVerb):
    def act(self, request: HttpRequest) -> str:
        services.snooze_rule(rule=self.rule, actor=request.user, **self.asked(SnoozeForm(request.POST)))
        return _("Snoozed. Nothing is told of this rule until then.")


class WakeRule(RuleVerb):
    def act(self, request: HttpRequest) -> str:
        services.wake_rule(rule=self.rule, actor=request.user)
        return _("The snooze has ended.")


class DeleteRule(RuleVerb):
    perm = "edit_alert_rule"

    def act(self, request: HttpRequest) -> str:
        services.delete_rule(rule=self.rule, actor=request.user)
        return _("Deleted.")


# -- channels ---------------------------------------------------------------------------------------------------------
class ChannelList(LivePage):
    perm = "view_project"
    template_name = "alerts/channels.html"
    part_name = "alerts/_channels.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        channels = self.mine(Channel).without_secrets()
        return super().get_context_data(section="channels", channels=channels, **kwargs)


class NewChannel(FormPage):
    """`?kind=webhook` or `email`."""

    perm = "manage_alert_channels"
    template_name = "alerts/channel_form.html"
    home_name = "channels"
    channel: Channel | None = None

    @property
    def kind(self) -> str:
        asked = self.request.GET.get("kind", "")
        return asked if asked in ChannelKind.values else ChannelKind.EMAIL.value

    def form(self, data: Any = None) -> Any:
        return channel_form(self.kind, data, self.channel)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        kinds = ChannelKind.choices
        return super().get_context_data(channel=self.channel, kind=self.kind, kinds=kinds, **kwargs)

    def save(self, form: Any) -> None:
        services.create_channel(project=self.project, kind=self.kind, actor=self.request.user, **form.asked())


class OneChannel(AlertsPage):
    @cached_property
    def channel(self) -> Channel:
        return self.found(self.mine(Channel).without_secrets().select_related("project"))


class EditChannel(OneChannel, NewChannel):  # type: ignore[misc]
    perm = "manage_alert_channels"

    @property
    def kind(self) -> str:
        return str(self.channel.kind)

    def save(self, form: Any) -> None:
        services.edit_channel(channel=self.channel, actor=self.request.user, **form.asked())


class ChannelVerb(OneChannel, Verb):  # type: ignore[misc]
    perm = "manage_alert_channels"

    def home(self) -> str:
        return self.url("channels")


class TestChannel(ChannelVerb):
    def act(self, request: HttpRequest) -> str:
        services.send_test(channel=self.channel, actor=request.user)
        return _("A test message is on its way. This page tells what became of it.")


class DeleteChannel(ChannelVerb):
    def act(self, request: HttpRequest) -> str:
        services.delete_channel(channel=self.channel, actor=request.user)
        return _("Deleted.")
