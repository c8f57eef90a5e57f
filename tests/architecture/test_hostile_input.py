"""What a stranger may type into an address is answered with 4xx, never with 500, on every database."""

import base64
from urllib.parse import quote

import pytest

LISTS = [
    "/api/v1/projects/{p}/jobs/",
    "/api/v1/projects/{p}/pipelines/",
    "/api/v1/projects/{p}/runs/",
    "/api/v1/templates/",
    "/api/v1/tokens/",
    "/api/v1/projects/",
]
PAGES = [
    "/projects/{p}/jobs/?search=%00",
    "/projects/{p}/jobs/?template=a%00b",
    "/projects/{p}/jobs/submit/?template=%00",
    "/projects/{p}/jobs/submit/?template=command&version=" + "9" * 5000,
    "/projects/{p}/jobs/submit/?template=command&version=" + "9" * 30,
    "/projects/{p}/jobs/submit/?clone=" + "z" * 36,
    "/projects/{p}/jobs/rows/?uid=" + "z" * 36,
    "/projects/{p}/jobs/?before=" + "9" * 400,
    "/projects/{p}/jobs/?before=%D9%A3",
    "/projects/{p}/jobs/?" + "&".join(["status=queued"] * 3000),
    "/projects/{p}/secrets/?name=%00",
    "/api/v1/projects/{p}/jobs/?search=%00",
    "/api/v1/projects/{p}/jobs/?submitted_by=%00",
    "/api/v1/jobs/?status=x",
    "/api/v1/projects/{p}/runs/?pipeline=x&logical_after=yesterday",
    "/api/v1/projects/{p}/pipelines/?search=%00&archived=perhaps",
    "/api/v1/templates/command/versions/" + "9" * 30 + "/",
    "/sign-in/?next=%00",
    "/projects/a%00b/jobs/",
    "/api/v1/projects/a%00b/jobs/",
]
CURSORS = ["p=abc", "p=%00", "p=" + "9" * 30, "o=99999999999999999999999&p=1", "r=1&p=x"]


def answer(client, address, project):
    client.raise_request_exception = False
    return client.get(address.format(p=project.slug)).status_code


@pytest.mark.parametrize("address", PAGES, ids=lambda address: address[:60])
def test_an_odd_address_is_no_error_of_ours(address, client, member, project):
    client.force_login(member)

    assert answer(client, address, project) < 500


@pytest.mark.parametrize("address", LISTS)
@pytest.mark.parametrize("cursor", CURSORS)
def test_a_made_up_cursor_is_no_error_of_ours(address, cursor, client, member, project):
    client.force_login(member)
    made_up = quote(base64.b64encode(cursor.encode()).decode())

    assert answer(client, f"{address}?cursor={made_up}", project) < 500


@pytest.mark.parametrize("name", ["a%00b", "a%0A"])
def test_odd_names_in_a_path_change_nothing(name, client, operator, project):
    client.force_login(operator)
    client.raise_request_exception = False
    body = {"data": {"KEY": "x"}}

    status = client.put(
        f"/api/v1/projects/{project.slug}/secrets/{name}/", body, content_type="application/json"
    ).status_code

    assert status in {400, 404}
    assert not project.secrets.exists()
