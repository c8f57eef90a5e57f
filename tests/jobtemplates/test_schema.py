import copy
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from apps.core.errors import InvalidInput
from apps.jobtemplates.params import ordered, params_of
from apps.jobtemplates.patterns import pattern_problem
from apps.jobtemplates.schema import check_schema, clean_params


def schema(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def complaints(call, *args):
    with pytest.raises(InvalidInput) as refusal:
        call(*args)
    return refusal.value.fields


REFUSED = object()


def accepted(call, *args):
    """What the call gives, or REFUSED. Anything but a refusal in words is a failure."""
    try:
        return call(*args)
    except InvalidInput:
        return REFUSED


EVERYTHING = schema(
    ["image", "steps"],
    image={"type": "string", "format": "image", "default": "python:3.11-slim"},
    note={"type": "string", "maxLength": 20},
    code={"type": "string", "x-ui": {"widget": "code", "language": "python"}},
    steps={"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
    rate={"type": "number", "minimum": 0, "maximum": 1},
    verbose={"type": "boolean", "default": False},
    args={"type": "array", "items": {"type": "string"}, "maxItems": 3, "default": []},
    env={"type": "array", "items": {"type": "string", "format": "env"}},
    secrets={"type": "array", "items": {"type": "string", "format": "secret-env"}},
    path={"type": "string", "format": "path"},
    key={"type": "string", "format": "secret"},
    device={"type": "string", "enum": ["cpu", "gpu"], "default": "cpu"},
    backend={
        "type": "string",
        "default": "gloo",
        "x-choices": {"param": "device", "map": {"cpu": ["gloo"], "gpu": ["nccl", "mpi"]}},
    },
    cards={"type": "integer", "minimum": 1, "x-ui": {"show_when": {"device": "gpu"}}},
    word={"type": "string", "pattern": "^[a-z]+(-[a-z]+)?$"},
)


class TestCleanParams:
    def test_fills_in_the_defaults(self):
        assert clean_params(EVERYTHING, {}) == {
            "image": "python:3.11-slim",
            "steps": 3,
            "verbose": False,
            "args": [],
            "device": "cpu",
            "backend": "gloo",
        }

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("steps", "3", "Must be a whole number."),
            ("steps", 3.0, "Must be a whole number."),
            ("steps", True, "Must be a whole number."),
            ("steps", None, "Must be a whole number."),
            ("steps", 0, "Must be at least 1."),
            ("steps", 11, "Must be at most 10."),
            ("rate", float("nan"), "This number is too large."),
            ("rate", "0.1", "Must be a number."),
            ("verbose", 1, "Must be true or false."),
            ("verbose", "true", "Must be true or false."),
            ("note", 5, "Must be text."),
            ("note", "x" * 21, "At most 20 characters."),
            ("note", "a\x00b", "NUL characters are not allowed."),
            ("note", "\ud800", "This is not valid text: it contains half a character (a lone surrogate)."),
            ("note", "x" * 65_537, "Too long: at most 64 KiB."),
            ("code", "x" * 524_289, "Too long: at most 512 KiB."),
            ("args", "a b", "Must be a list."),
            ("args", ["1", "2", "3", "4"], "At most 3 entries."),
            ("image", "python 3", "An image name has no spaces: registry.example.com/team/train:1.2"),
            ("device", "tpu", "Choose one of: cpu, gpu."),
            ("backend", "nccl", "Choose one of: gloo."),
            ("cards", 2, "Does not apply unless device is gpu."),
            ("key", {"secret": "a"}, "Name a secret and one of its keys: name/KEY"),
            ("key", "only-a-name", "Name a secret and one of its keys: name/KEY"),
            ("word", "Two", "Does not have the expected form (^[a-z]+(-[a-z]+)?$)."),
            ("word", "two\n", "Does not have the expected form (^[a-z]+(-[a-z]+)?$)."),
            ("word", "a" * 1001, "At most 1000 characters."),
            ("stepz", 1, "There is no such parameter. Did you mean 'steps'?"),
            ("xyz", 1, "There is no such parameter."),
        ],
    )
    def test_refuses_with_words_at_the_field(self, name, value, message):
        assert complaints(clean_params, EVERYTHING, {name: value}) == {f"params.{name}": [message]}

    def test_names_every_bad_place_at_once(self):
        fields = complaints(
            clean_params, EVERYTHING, {"image": "A B", "steps": "1", "env": ["A=1", "b", "9=1"], "q": 1}
        )

        assert set(fields) == {"params.image", "params.steps", "params.env[1]", "params.env[2]", "params.q"}

    def test_refuses_a_variable_given_twice_or_owned_by_cube(self):
        fields = complaints(clean_params, EVERYTHING, {"env": ["A=1", "A=2"], "secrets": ["CUBE_WORKERS=a/B"]})

        assert fields == {
            "params.env[1]": ["A is given twice."],
            "params.secrets[0]": ["Names that begin with CUBE_ belong to Cube."],
        }

    @pytest.mark.parametrize("params", [None, [], "text", 3])
    def test_wants_an_object(self, params):
        assert complaints(clean_params, EVERYTHING, params) == {"params": ["Must be an object of parameters."]}

    def test_a_missing_required_parameter_is_named(self):
        wanted = schema(["image", "note"], image={"type": "string", "format": "image"}, note={"type": "string"})

        fields = complaints(clean_params, wanted, {"image": "", "note": ""})

        assert fields == {"params.image": ["This is required."], "params.note": ["This is required."]}

    def test_a_cascade_follows_its_parent(self):
        assert clean_params(EVERYTHING, {"device": "gpu"})["backend"] == "nccl"
        assert clean_params(EVERYTHING, {"device": "gpu", "backend": "mpi"})["backend"] == "mpi"

    def test_what_does_not_apply_is_not_required(self):
        wanted = schema(
            ["source", "code", "path"],
            source={"type": "string", "enum": ["typed", "file"], "default": "typed"},
            code={"type": "string", "x-ui": {"show_when": {"source": "typed"}}},
            path={"type": "string", "format": "path", "x-ui": {"show_when": {"source": "file"}}},
        )

        assert clean_params(wanted, {"code": "1", "path": ""}) == {"source": "typed", "code": "1"}
        assert clean_params(wanted, {"source": "file", "path": "a"}) == {"source": "file", "path": "a"}
        assert complaints(clean_params, wanted, {"source": "file"}) == {"params.path": ["This is required."]}

    def test_both_spellings_of_a_secret_mean_the_same(self):
        assert clean_params(EVERYTHING, {"key": {"secret": "wandb", "key": "API_KEY"}})["key"] == "wandb/API_KEY"
        assert clean_params(EVERYTHING, {"key": "wandb/API_KEY"})["key"] == "wandb/API_KEY"


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        ["/etc/passwd", "../x", "a/../../b", "a/..", "~/x", "a\x00b", "a\nb", "..\\x", ".", "a/", "x/" + "y" * 256],
    )
    def test_refuses_what_leaves_the_workspace(self, path):
        assert list(complaints(clean_params, EVERYTHING, {"path": path})) == ["params.path"]

    @pytest.mark.parametrize(("path", "kept"), [("./a//b.py", "a/b.py"), ("a/./b", "a/b"), ("..a/b..", "..a/b..")])
    def test_normalises_the_others(self, path, kept):
        assert clean_params(EVERYTHING, {"path": path})["path"] == kept


class TestImages:
    @pytest.mark.parametrize(
        "image",
        [
            "python",
            "python:3.11-slim",
            "library/python",
            "localhost:5000/a/b:1",
            "registry.example.com/team/train@sha256:" + "a" * 64,
            "ghcr.io/a-b/c__d/e.f:V1_x@sha256:" + "0" * 64,
            "[::1]:5000/a",
        ],
    )
    def test_accepts_references(self, image):
        assert clean_params(EVERYTHING, {"image": image})["image"] == image

    @pytest.mark.parametrize(
        "image",
        [
            "Python",
            "a//b",
            "a:",
            ":a",
            "a@sha256:12",
            "a:b:c",
            "-a",
            "a;rm",
            "a\n",
            "\uff41",
            "a" * 256,
            "http://a/b",
            "a/$x",
        ],
    )
    def test_refuses_the_rest(self, image):
        assert list(complaints(clean_params, EVERYTHING, {"image": image})) == ["params.image"]

    def test_decides_quickly(self):
        started = time.perf_counter()

        complaints(clean_params, EVERYTHING, {"image": "a-" * 300 + "!"})

        assert time.perf_counter() - started < 0.5


text = st.text(max_size=20)
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text, st.lists(text, max_size=4))


class TestProperties:
    @settings(max_examples=60, deadline=None)
    @given(st.dictionaries(st.sampled_from([*EVERYTHING["properties"], "other"]), values, max_size=6))
    def test_whatever_is_accepted_is_valid_json_schema_and_cleans_to_itself(self, params):
        cleaned = accepted(clean_params, EVERYTHING, params)
        if cleaned is REFUSED:
            return

        Draft202012Validator(EVERYTHING).validate(cleaned)
        assert clean_params(EVERYTHING, cleaned) == cleaned

    @settings(max_examples=60, deadline=None)
    @given(st.recursive(values, lambda inner: st.dictionaries(text, inner, max_size=4) | st.lists(inner, max_size=3)))
    def test_no_json_breaks_the_check(self, document):
        for candidate in (document, schema(x=document), schema(x={"type": "string", "x-ui": document})):
            accepted(check_schema, candidate)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_a_schema_with_one_thing_replaced_is_refused_or_works(self, data):
        broken = copy.deepcopy(EVERYTHING)
        spec = broken["properties"][data.draw(st.sampled_from(list(broken["properties"])))]
        key = data.draw(st.sampled_from([*spec, "enum", "x-choices", "x-ui", "pattern", "format", "default", "items"]))
        spec[key] = data.draw(
            values | st.dictionaries(st.sampled_from(["param", "map", "widget", "show_when"]), values)
        )

        if accepted(check_schema, broken) is REFUSED:
            return
        cleaned = accepted(clean_params, broken, {})  # refused when it has become required, as it may

        assert cleaned is REFUSED or clean_params(broken, cleaned) == cleaned


class TestCheckSchema:
    def test_accepts_every_kind(self):
        check_schema(EVERYTHING)
        Draft202012Validator.check_schema(EVERYTHING)

    @pytest.mark.parametrize(
        ("spec", "place"),
        [
            ({"type": "text"}, ".type"),
            ({}, ".type"),
            ({"type": ["string"]}, ".type"),
            ({"type": "string", "minimum": 1}, ".minimum"),
            ({"type": "string", "pattern": "(a+)+$"}, ".pattern"),
            ({"type": "string", "pattern": "^(a+)+$"}, ".pattern"),
            ({"type": "string", "pattern": "^(a|aa)*$"}, ".pattern"),
            ({"type": "string", "pattern": "^a*a*a*a*$"}, ".pattern"),
            ({"type": "string", "pattern": r"^(a)\1$"}, ".pattern"),
            ({"type": "string", "pattern": "^(?=a)a$"}, ".pattern"),
            ({"type": "string", "pattern": "^[a$"}, ".pattern"),
            ({"type": "string", "pattern": "^" + "a" * 200 + "$"}, ".pattern"),
            ({"type": "string", "pattern": "^a$", "maxLength": 2000}, ".maxLength"),
            ({"type": "string", "format": "email"}, ".format"),
            ({"type": "string", "format": ["path"]}, ".format"),
            ({"type": "string", "enum": []}, ".enum"),
            ({"type": "string", "enum": ["a", "a"]}, ".enum[1]"),
            ({"type": "integer", "enum": ["a"]}, ".enum[0]"),
            ({"type": "integer", "minimum": 5, "maximum": 1}, ".minimum"),
            ({"type": "integer", "minimum": "1"}, ".minimum"),
            ({"type": "integer", "default": "1"}, ".default"),
            ({"type": "string", "format": "path", "default": "../x"}, ".default"),
            ({"type": "array"}, ".items"),
            ({"type": "array", "items": {"type": "array"}}, ".items.type"),
            ({"type": "array", "items": {"type": "string"}, "maxItems": 1000}, ".maxItems"),
            ({"type": "string", "x-ui": {"widget": "slider"}}, ".x-ui.widget"),
            ({"type": "integer", "x-ui": {"widget": "code"}}, ".x-ui.widget"),
            ({"type": "string", "x-ui": {"colour": "red"}}, ".x-ui.colour"),
            ({"type": "string", "x-ui": {"order": "1"}}, ".x-ui.order"),
            ({"type": "string", "x-ui": {"show_when": {"y": 1}}}, ".x-ui.show_when.y"),
            ({"type": "string", "x-choices": {"param": "y", "map": {}}}, ".x-choices.param"),
            ({"type": "string", "x-choices": {"map": {}}}, ".x-choices"),
            ({"type": "string", "description": "a\x00"}, ".description"),
        ],
    )
    def test_names_the_bad_place(self, spec, place):
        assert list(complaints(check_schema, schema(x=spec))) == [f"schema.properties.x{place}"]

    @pytest.mark.parametrize(
        ("document", "place"),
        [
            ([], "schema"),
            ({"type": "object", "additionalProperties": False}, "schema.properties"),
            ({"type": "object", "properties": {}}, "schema.additionalProperties"),
            ({**schema(), "required": ["x"]}, "schema.required[0]"),
            ({**schema(), "$ref": "#"}, "schema.$ref"),
            (schema(Image={"type": "string"}), "schema.properties.Image"),
        ],
    )
    def test_names_the_bad_place_of_the_outline(self, document, place):
        assert list(complaints(check_schema, document)) == [place]

    def test_refuses_parameters_that_wait_for_each_other(self):
        ring = schema(
            a={"type": "boolean", "x-ui": {"show_when": {"b": True}}},
            b={"type": "boolean", "x-ui": {"show_when": {"a": True}}},
        )

        assert set(complaints(check_schema, ring)) == {"schema.properties.a", "schema.properties.b"}

    def test_a_cascade_must_answer_for_every_choice(self):
        half = schema(
            a={"type": "string", "enum": ["x", "y"]},
            b={"type": "string", "x-choices": {"param": "a", "map": {"x": ["1"], "z": ["2"]}}},
        )

        assert complaints(check_schema, half) == {
            "schema.properties.b.x-choices.map.z": ["a has no such choice."],
            "schema.properties.b.x-choices.map": ["Says nothing for y."],
        }

    def test_refuses_what_is_too_deep_without_falling_over(self):
        deep: dict = {}
        for _ in range(5000):
            deep = {"x": deep}

        assert list(complaints(check_schema, schema(x=deep)).values()) == [["Nested too deeply: at most 24 levels."]]


class TestPatterns:
    @pytest.mark.parametrize(
        "pattern", [r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", r"^[^=]+=.*$", "^(a|b)$", "^(?:ab){1,3}$", "^v?[0-9]+$"]
    )
    def test_accepts_ordinary_ones(self, pattern):
        assert pattern_problem(pattern, longest=1000) == ""


def test_order_survives_a_database_that_forgets_the_order_of_keys():
    kept = ordered(schema(zebra={"type": "string"}, ant={"type": "string"}))
    kept["properties"] = dict(sorted(kept["properties"].items()))

    assert [param.name for param in params_of(kept)] == ["zebra", "ant"]
