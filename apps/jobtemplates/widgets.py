"""Inputs of generated forms. They work before any script runs; `static/js/paramform.js` makes them comfortable."""

from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

SPARE_ROWS = 2  # empty rows of a list for browsers without scripts


class _PageTemplate:
    """Draws with the page's own templates, so that icons and includes are there (form renderers have none)."""

    def _render(self, template_name: str, context: dict[str, Any], renderer: Any = None) -> SafeString:
        return render_to_string(template_name, context)


class SuggestInput(_PageTemplate, forms.TextInput):
    """A text input that offers known values, yet takes any."""

    template_name = "jobtemplates/widgets/suggest.html"

    def __init__(self, attrs: dict[str, Any] | None = None, suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(attrs)
        self.suggestions = suggestions

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        context["widget"]["suggestions"] = self.suggestions
        return context


class ListInput(_PageTemplate, forms.Widget):
    """One input per row, all of the same name."""

    template_name = "jobtemplates/widgets/list.html"
    use_fieldset = True

    def __init__(
        self, attrs: dict[str, Any] | None = None, most: int = 200, label: str = "", suggestions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(attrs)
        self.most, self.label, self.suggestions = most, label, suggestions

    def id_for_label(self, id_: str, index: str | None = None) -> str:
        return ""  # the legend names the group

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        values = data.getlist(name) if hasattr(data, "getlist") else data.get(name) or []
        return [value for value in values if str(value).strip()]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        rows = [str(item) for item in value or []]
        spare = min(SPARE_ROWS, max(0, self.most - len(rows)))
        context["widget"] |= {
            "rows": rows + [""] * spare,
            "most": self.most,
            "label": self.label,
            "suggestions": self.suggestions,
        }
        return context
