from collections.abc import Callable
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from .choices import SecretKind
from .models import Project
from .roles import DESCRIPTIONS, Role
from .secrets import MAX_BYTES


class SettingsForm(forms.ModelForm):
    class Meta:
        model = Project
        fields = ["name", "description", "log_retention_days"]
        labels = {"name": _("Name"), "description": _("Description"), "log_retention_days": _("Days logs are kept")}
        widgets = {"description": forms.Textarea(attrs={"rows": 4})}


def explained(role: Role) -> str:
    return f"{role.label}: {DESCRIPTIONS[role]}"


def role_choices() -> list[tuple[str, str]]:
    return [(role.value, explained(role)) for role in Role]


class MemberForm(forms.Form):
    username = forms.CharField(
        label=_("User name"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )
    role = forms.ChoiceField(label=_("Role"), choices=role_choices, initial=Role.DEVELOPER)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class SecretForm(forms.Form):
    """A secret's name and its data; subclasses say how the data is written down."""

    kind: SecretKind
    name = forms.CharField(
        label=_("Name"),
        max_length=50,
        help_text=_("Lower-case letters, digits and '-'. Jobs choose the secret by this name."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def data_as_asked(self) -> dict[str, str]:
        raise NotImplementedError  # abstract


class OpaqueSecretForm(SecretForm):
    kind = SecretKind.OPAQUE
    data = forms.CharField(  # type: ignore[assignment]  # Django lifts fields out of the class.
        label=_("Values"),
        max_length=MAX_BYTES * 2,
        strip=False,
        widget=forms.Textarea(
            attrs={"rows": 5, "spellcheck": "false", "autocomplete": "off", "placeholder": "API_KEY=…"}
        ),
        help_text=_("One KEY=value a line. They cannot be read back. Values of several lines go through the API."),
    )

    def clean_data(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for number, line in enumerate(self.cleaned_data["data"].splitlines(), start=1):
            if not line.strip():
                continue
            key, equals, value = line.partition("=")
            if not equals:
                raise forms.ValidationError(_("Line %(n)d has no '='."), params={"n": number})
            if key.strip() in found:
                raise forms.ValidationError(_("Line %(n)d repeats a key."), params={"n": number})
            found[key.strip()] = value
        return found

    def data_as_asked(self) -> dict[str, str]:
        data: dict[str, str] = self.cleaned_data["data"]
        return data


class RegistrySecretForm(SecretForm):
    kind = SecretKind.REGISTRY
    server = forms.CharField(
        label=_("Server"), max_length=255, widget=forms.TextInput(attrs={"placeholder": "registry.example.com"})
    )
    username = forms.CharField(
        label=_("User name"), max_length=500, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    password = forms.CharField(
        label=_("Password or token"),
        max_length=20000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def data_as_asked(self) -> dict[str, str]:
        return {name: self.cleaned_data[name] for name in ("server", "username", "password")}

    def add_error(self, field: str | None, error: Any) -> None:
        # The service speaks of `data.server`; here that is a field of its own.
        text = error if isinstance(error, str) else ""
        for name in ("server", "username", "password"):
            if field is None and text.startswith(f"data.{name}: "):
                return super().add_error(name, text.removeprefix(f"data.{name}: "))
        return super().add_error(field, error)


SECRET_FORMS: dict[str, Callable[..., SecretForm]] = {
    SecretKind.OPAQUE: OpaqueSecretForm,
    SecretKind.REGISTRY: RegistrySecretForm,
}
