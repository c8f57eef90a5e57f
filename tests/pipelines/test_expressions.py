"""The language between braces: what it gives, what it refuses, and that it stays bounded whatever it is fed."""

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.pipelines.expressions import ExpressionError, Values, evaluate, parse, resolve
from apps.pipelines.expressions.texts import unclosed

AT = datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
VALUES = Values(
    params={"n": 3, "name": "Ada", "flag": True, "seeds": [1, 2]},
    outputs={"train": {"score": 0.5, "files": ["a/b.txt"], "odd key": 1}, "skipped": None},
    run={"logical_at": AT, "interval_end": None, "uid": "u"},
    item={"lr": 0.1, "layers": [8, 16]},
    index=2,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("params.n", 3), ("item.lr", 0.1), ("item['lr']", 0.1), ("item.layers[1]", 16), ("index", 2),
        ("outputs.train.score", 0.5), ('outputs.train["odd key"]', 1), ("outputs.skipped.anything", None),
        ("1", 1), ("-2.5", -2.5), ("true", True), ("null", None), ("[1, 'a', params.n]", [1, "a", 3]),
        (r"'a\'b'", "a'b"), ("not params.flag", False), ("params.n > 2 and params.n < 4", True),
        ("params.flag == 1", False), ("2 in params.seeds", True),
        ("'d' in params.name", True), ("9 not in params.seeds", True), ("(1 == 2) == false", True),
        ("not 1 == 2", True), ("null or 'x'", "x"), ("run.interval_end == null", True),
        ("run.logical_at | date", "2026-11-24"), ("run.logical_at | date('%d.%m.%y %H:%M')", "24.11.26 02:30"),
        ("run.logical_at | local('America/New_York') | date('%Y-%m-%d %H')", "2026-11-23 21"),
        ("run.logical_at | shift('-1d') | date", "2026-11-23"), ("run.interval_end | default('none')", "none"),
        ("params.seeds | length", 2), ("params.seeds | join('-')", "1-2"), ("params.seeds | json", "[1, 2]"),
        ("params.name | lower", "ada"), ("outputs.train.files | first | basename", "b.txt"),
        ("params.seeds | last", 2), ("3 | range", [0, 1, 2]), ("'12' | int", 12), ("'1.5' | number", 1.5),
        ("params.n | string", "3"), ("run.logical_at < (run.logical_at | shift('1s'))", True),
    ],
)  # fmt: skip
def test_gives(text, value):
    assert evaluate(parse(text), VALUES) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "params.", "params..n", "1 +", "1 + 1", "(1", "[1", "params.n[", "a b", "params.n params.n",
        "== 1", "|json", "'it''s'", "params.n == 3 or nothing",
        "__class__", "params.__class__", "params.n.__class__.__mro__", "''.__class__", "().__class__", "config",
        "self", "request", "params.n()", "item.lr.real()", "open('/etc/passwd')", "range(3)", "lambda: 1",
        "params.n if 1",
        "import os", "{}", "{{ 1 }}", "a" * 2000, "(" * 40 + "1" + ")" * 40, "not " * 40 + "true",
        "1" + " and 1" * 150, "1" + " | string" * 40, "'unclosed", "01", "1e5", "0x10", "params['a']['b'](1)",
        "item[-1]", "item[1.5]", "params._n", "'\\x41'", "params\x00", "p\N{CYRILLIC SMALL LETTER A}rams",
    ],
)  # fmt: skip
def test_refuses_to_parse(text):
    with pytest.raises(ExpressionError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "params.gone", "item.lr.real", "params.n.bit_length", "params.name.upper", "item.layers[9]",
        "outputs.train.gone", "1 < 'a'", "true < 2", "1 in 2", "params.n | nothing", "params.n | join", "1 | length",
        "run.interval_end | date", "run.logical_at | date('%9999999d')", "run.logical_at | local('../../etc/passwd')",
        "run.logical_at | shift('1')", "run.logical_at | shift('999999w')", "1001 | range", "'x' | int",
        "'9' | int(1)", "'nan' | number", "1 | default", "'x' | date",
    ],
)  # fmt: skip
def test_refuses_to_evaluate(text):
    with pytest.raises(ExpressionError):
        evaluate(parse(text), VALUES)


class TestTexts:
    def test_one_expression_gives_its_value_as_it_is(self):
        assert resolve(" {{ params.seeds }} ", VALUES) == [1, 2]

    def test_others_are_put_into_the_text(self):
        text = "{{ params.n }}/{{ params.flag }}/{{ run.logical_at }}/{{ null }}"

        assert resolve(text, VALUES) == "3/true/2026-11-24T02:30:00Z/"

    def test_within_lists_and_objects(self):
        assert resolve({"a": ["{{ index }}", 1]}, VALUES) == {"a": [2, 1]}

    def test_braces_can_be_written(self):
        assert resolve("{{ '{{' }} x }}", VALUES) == "{{ x }}"

    def test_a_value_with_braces_is_not_read_again(self):
        assert resolve("<{{ item }}>", Values(item="{{ params.n }}")) == "<{{ params.n }}>"

    def test_what_is_not_closed_is_noticed(self):
        assert unclosed("a {{ params.n } b")
        assert not unclosed("a {{ params.n }} b }}")

    def test_a_text_stays_bounded(self):
        with pytest.raises(ExpressionError):
            resolve("{{ item }}" * 100, Values(item="x" * 1000))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="params.outiemndxru[]()'\"|,<>=! 0123_", max_size=60))
def test_any_text_is_an_expression_or_refused(text):
    with contextlib.suppress(ExpressionError):
        evaluate(parse(text), VALUES)
