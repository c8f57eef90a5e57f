"""The OpenAPI document is complete, or building it says what is missing."""

from io import StringIO

from django.core.management import call_command


def test_the_schema_is_valid_and_without_warnings(db, tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", file=str(tmp_path / "schema.yaml"), stderr=StringIO())

    text = (tmp_path / "schema.yaml").read_text()
    assert "/api/v1/projects/{project}/secrets/{name}/:" in text
    assert "scheme: bearer" in text
