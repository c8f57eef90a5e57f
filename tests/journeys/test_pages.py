"""Pages about people and operators: members, tokens, secrets, the admin console, and every page on a phone."""

import re
from urllib.parse import urljoin

import pytest
from playwright.sync_api import expect

from . import running
from .pages import JOBS, SUBMIT, confirm, fill, fits_the_window

PAGES = {
    "home": "/",
    "jobs": JOBS,
    "gallery": SUBMIT,
    "submit": f"{SUBMIT}?template=python",
    "templates": "/projects/demo/templates/",
    "template": "/projects/demo/templates/pytorch/",
    "workspace": "/projects/demo/workspace/",
    "members": "/projects/demo/members/",
    "secrets": "/projects/demo/secrets/",
    "settings": "/projects/demo/settings/",
    "account": "/account/",
    "tokens": "/account/tokens/",
    "api-docs": "/api/v1/docs/",
}


@pytest.fixture(scope="session")
def finished(ada):
    job = ada.submit("wide", "python -c 'print(\"wide \" * 200)'")
    return ada.wait_for(job["uid"], "succeeded")


class TestMembers:
    def test_somebody_comes_changes_role_and_goes(self, open_page, cube, newcomer):
        page = open_page("ada")
        page.goto("/projects/demo/members/")

        fill(page, username=newcomer)
        page.locator("select#id_role").select_option("viewer")
        page.get_by_role("button", name="Add member").click()

        row = page.get_by_role("row").filter(has_text=newcomer)
        expect(row.locator("select")).to_have_value("viewer")
        theirs = cube.api(newcomer)
        assert theirs.get("/projects/demo/jobs/").status_code == 200

        row.locator("select").select_option("developer")
        row.get_by_role("button", name="Change").click()
        expect(row.locator("select")).to_have_value("developer")
        page.reload()
        expect(row.locator("select")).to_have_value("developer")

        row.get_by_role("button", name="Remove").click()
        confirm(page, "Remove")
        expect(row).to_have_count(0)
        assert theirs.get("/projects/demo/jobs/").status_code == 404

    def test_an_unknown_name_marks_the_field(self, open_page):
        page = open_page("ada", answers=(422,))
        page.goto("/projects/demo/members/")
        rows = page.get_by_role("row").count()

        fill(page, username="nobody-of-that-name")
        page.get_by_role("button", name="Add member").click()

        expect(page.locator(".field.has-errors [name=username]")).to_have_value("nobody-of-that-name")
        page.goto("/projects/demo/members/")
        expect(page.get_by_role("row")).to_have_count(rows)


class TestTokens:
    def test_shown_once_works_until_revoked(self, open_page, cube):
        page = open_page("dev")
        page.goto("/account/tokens/")
        fill(page, name="laptop")
        page.get_by_role("button", name="Create token").click()

        token = page.locator("[data-secret]").inner_text()
        api = running.Api(cube.url, token)
        assert api.get("/me/").json()["username"] == "dev"
        page.goto("/account/tokens/")
        assert token not in page.content()

        row = page.get_by_role("row").filter(has_text="laptop")
        row.get_by_role("button", name="Revoke").click()
        confirm(page, "Revoke")

        expect(row).to_contain_text("revoked")
        assert api.get("/me/").status_code == 401


class TestSecrets:
    def test_a_value_is_never_shown_again(self, open_page):
        page = open_page("ada")
        page.goto("/projects/demo/secrets/")
        fill(page, name="wandb", data="API_KEY=do-not-show-me")
        page.get_by_role("button", name="Save secret").click()

        row = page.get_by_role("row").filter(has_text="wandb")
        expect(row).to_contain_text("API_KEY")
        assert "do-not-show-me" not in page.content()

        row.get_by_role("button", name="Delete").click()
        confirm(page, "Delete")
        expect(row).to_have_count(0)

    def test_a_line_without_a_value_marks_the_field(self, open_page):
        page = open_page("ada", answers=(422,))
        page.goto("/projects/demo/secrets/")

        fill(page, name="broken", data="no equals sign")
        page.get_by_role("button", name="Save secret").click()

        expect(page.locator(".field.has-errors [name=data]")).to_be_visible()
        page.goto("/projects/demo/secrets/")
        expect(page.get_by_role("row").filter(has_text="broken")).to_have_count(0)


class TestAdminConsole:
    """Every list and one object of each, as everybody who may enter."""

    @staticmethod
    def lists(page):
        assert page.goto("/admin/").status == 200
        links = page.locator("a[href^='/admin/']").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        return sorted({link for link in links if re.fullmatch(r"/admin/\w+/\w+/", link)})

    @staticmethod
    def first_object(page):
        links = page.locator("#result_list tbody a[href*='/change/']")
        return links.first.get_attribute("href") if links.count() else None

    @pytest.mark.parametrize("who", ["admin", "quota", "auditor"])
    def test_every_list_and_object_opens(self, open_page, finished, who):
        page = open_page(who)
        lists = self.lists(page)
        assert "/admin/clusters/cluster/" in lists

        for address in lists:
            assert page.goto(address).status == 200, address
            if change := self.first_object(page):
                assert page.goto(urljoin(page.url, change)).status == 200, change

    def test_the_admin_may_add_what_is_for_people_to_add(self, open_page):
        page = open_page("admin")

        for model in ("accounts/user", "projects/project", "clusters/cluster", "clusters/resourcegroup"):
            assert page.goto(f"/admin/{model}/add/").status == 200, model
            expect(page.locator("[name=_save]").first).to_be_visible()

    def test_an_auditor_reads_everything_and_writes_nothing(self, open_page):
        page = open_page("auditor", answers=(403,))

        for address in self.lists(page):
            page.goto(address)
            expect(page.locator("a[href$='/add/']")).to_have_count(0)
            assert page.goto(f"{address}add/").status == 403, address
            page.goto(address)
            if change := self.first_object(page):
                page.goto(urljoin(page.url, change))
                expect(page.locator("[name=_save], [name=_continue]")).to_have_count(0)

    @pytest.mark.parametrize("who", ["ada", "viewer"])
    def test_others_do_not_get_in(self, open_page, who):
        page = open_page(who, answers=(403, 404))

        page.goto("/admin/")

        expect(page.locator("a[href='/admin/accounts/user/']")).to_have_count(0)


class TestEveryPage:
    @pytest.mark.parametrize("name", PAGES)
    def test_fits_a_phone_in_the_dark(self, open_page, name):
        page = open_page("ada", width=390, height=844, dark=True)

        assert page.goto(PAGES[name]).status == 200

        page.wait_for_load_state("load")
        assert fits_the_window(page)

    def test_a_job_fits_a_phone_in_the_dark(self, open_page, finished):
        page = open_page("ada", width=390, height=844, dark=True)

        page.goto(f"{JOBS}{finished['uid']}/")

        expect(page.locator(".logrow").first).to_be_visible()
        for tab in ("Log", "Usage", "Timeline", "Pods", "Parameters", "YAML"):
            page.get_by_role("tab", name=tab).click()
            assert fits_the_window(page), tab
        expect(page.locator("#yaml")).to_contain_text("kind: Job")

    def test_a_job_can_be_submitted_on_a_phone(self, open_page):
        page = open_page("ada", width=390, height=844)
        page.goto(JOBS)

        page.get_by_role("button", name="Open menu").click()
        page.get_by_role("link", name="Submit a job").click()
        page.get_by_role("link", name=re.compile("^Command")).click()
        fill(page, name="from-a-phone", param_command="true")
        page.get_by_role("button", name="Submit job").click()

        expect(page.locator("h1")).to_contain_text("from-a-phone")
