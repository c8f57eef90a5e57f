from datetime import datetime, timedelta

from django import forms
from django.contrib.auth import password_validation
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .choices import TokenScope
from .models import User

VALIDITY = [
    ("7", _("7 days")),
    ("30", _("30 days")),
    ("90", _("90 days")),
    ("365", _("One year")),
    ("", _("Until I revoke it")),
]


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ["first_name", "last_name", "email"]
        labels = {"email": _("E-mail")}


class PasswordForm(forms.Form):
    """Field names are those the service complains about."""

    current = forms.CharField(
        label=_("Current password"),
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new = forms.CharField(
        label=_("New password"),
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=" ".join(password_validation.password_validators_help_texts()),
    )
    repeat = forms.CharField(
        label=_("New password again"),
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> None:
        if self.cleaned_data.get("new") != self.cleaned_data.get("repeat"):
            self.add_error("repeat", _("The two passwords differ."))


class TokenForm(forms.Form):
    name = forms.CharField(
        label=_("Name"), max_length=100, help_text=_("What uses it, so that you know later what breaks: ci, laptop.")
    )
    scope = forms.ChoiceField(label=_("It may"), choices=TokenScope.choices, initial=TokenScope.WRITE)
    days = forms.ChoiceField(label=_("Valid for"), choices=VALIDITY, initial="90", required=False)

    def expires_at(self) -> datetime | None:
        days = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=int(days)) if days else None
