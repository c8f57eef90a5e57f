import pytest
from django.http import QueryDict
from django.template.loader import render_to_string

from apps.core.errors import InvalidInput
from apps.jobtemplates import selectors, services
from apps.jobtemplates.forms import form_for
from apps.jobtemplates.schema import clean_params

pytestmark = pytest.mark.django_db


@pytest.fixture
def version():
    services.install_shipped()
    return selectors.latest_version


def sent(**fields):
    data = QueryDict(mutable=True)
    for name, value in fields.items():
        data.setlist(f"param-{name}", value if isinstance(value, list) else [value])
    return data


class TestParams:
    def test_a_browser_says_what_the_api_would(self, version):
        data = sent(image="a/b:1", command="one\r\ntwo", working_dir="/srv", env=["A=1", "", " "], secret_env=[""])

        form = form_for(version("command"))(data)

        assert form.is_valid(), form.errors
        assert form.params() == {
            "image": "a/b:1",
            "command": "one\ntwo",
            "working_dir": "/srv",
            "env": ["A=1"],
            "secret_env": [],
        }

    def test_numbers_become_numbers_and_what_is_none_is_refused_in_its_place(self, version):
        form_class = form_for(version("pytorch"))

        good = form_class(sent(source="typed", code="1", workers="3", device="cpu", backend="gloo", path="left/over"))
        bad = form_class(sent(source="typed", code="1", workers="3x", device="cpu", backend="gloo"))

        assert good.params()["workers"] == 3
        assert "path" not in good.params()
        assert good.is_valid()
        assert bad.errors == {"param-workers": ["Must be a whole number."]}

    def test_an_error_in_a_row_names_the_row(self, version):
        form = form_for(version("command"))(sent(command="x", env=["A=1", "B"]))

        assert list(form.errors) == ["param-env"]
        assert form.errors["param-env"][0].startswith("Row 2: Write NAME=value")

    def test_an_empty_post_asks_for_what_is_required(self, version):
        form = form_for(version("python"))(sent(source="typed"))

        assert form.errors == {"param-code": ["This is required."]}

    def test_a_service_s_refusal_lands_on_its_field(self, version):
        form = form_for(version("command"))(sent(command="x"))
        assert form.is_valid()

        form.add_refusal(InvalidInput({"params.image": "Unknown registry.", "name": "Taken."}))

        assert form.errors == {"param-image": ["Unknown registry."], "__all__": ["name: Taken."]}

    def test_the_initial_form_sent_back_means_the_defaults(self, version):
        schema = version("command").schema
        initial = {"command": "sleep 1", "env": ["A=1"]}
        form = form_for(version("command"), initial=initial)()
        data = sent(**{name.removeprefix("param-"): field.initial for name, field in form.fields.items()})

        again = form_for(version("command"))(data)

        assert again.is_valid()
        assert clean_params(schema, again.params()) == clean_params(schema, initial)


class TestDrawing:
    def draw(self, form):
        return render_to_string("jobtemplates/_params.html", {"form": form})

    def test_islands_find_what_they_need(self, version):
        html = self.draw(form_for(version("pytorch"), workspace_files=["examples/ddp_digits.py"])())

        assert 'data-code="python"' in html
        assert "data-show-when=" in html
        assert "data-cascade=" in html
        assert '<option value="examples/ddp_digits.py">' in html
        assert 'list="id_param-path_known"' in html
        assert "<h2>Workers</h2>" in html
        assert " style=" not in html

    def test_what_people_typed_is_escaped(self, version):
        hostile = '"><script>alert(1)</script>'
        form = form_for(version("command"), initial={"env": [f"A={hostile}"]}, secrets=[hostile])(
            sent(image=hostile, command=hostile, env=[hostile])
        )

        html = self.draw(form)

        assert "<script" not in html
        assert "&lt;script&gt;" in html


class TestExample:
    def test_is_typed_in_for_somebody_who_begins(self, version):
        form = form_for(version("python"))()

        assert "for step in range" in form.fields["param-code"].initial

    def test_is_not_mixed_into_a_clone(self, version):
        form = form_for(version("python"), initial={"source": "workspace", "path": "a.py"})()

        assert form.fields["param-code"].initial is None

    def test_is_no_default(self, version):
        with pytest.raises(InvalidInput):
            clean_params(version("python").schema, {})
