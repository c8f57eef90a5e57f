"""The log viewer against a small log server that speaks the socket's protocol: which part of the log is shown."""

import re

from playwright.sync_api import expect

from .logpage import await_message, button, held, message, row, scroll, top
from .logserver import line, numbered, pod


class TestWindows:
    def test_older_and_newer_pages_come_while_scrolling_and_nothing_moves(self, serve, read_log):
        server = serve(numbered(12_000))
        page = read_log(server)
        expect(row(page, "1-11999")).to_be_visible()

        scroll(page, "top")
        expect(row(page, "1-10999")).to_be_attached()
        await_message(server, page, "before")

        expect(row(page, "1-11000")).to_be_in_viewport()
        assert top(page)[0] in ("1-11000", "1-10999", "1-11001")
        for _ in range(60):
            scroll(page, "top")
            page.wait_for_timeout(60)
            if int(top(page)[0].split("-")[1]) < 6000:
                break
        assert held(page) == 5000  # what lies behind was let go
        assert int(top(page)[0].split("-")[1]) < 6000

        for _ in range(60):
            scroll(page, "bottom")
            page.wait_for_timeout(60)
            if row(page, "1-11999").count():
                break
        expect(row(page, "1-11999")).to_be_in_viewport()
        assert held(page) == 5000
        server.push(numbered(3, first=12_000))
        expect(row(page, "1-12002")).to_be_attached()

    def test_the_start_and_the_end_of_the_log(self, serve, read_log):
        server = serve(numbered(12_000))
        page = read_log(server)
        expect(row(page, "1-11999")).to_be_visible()

        page.keyboard.press("g")

        expect(row(page, "1-0")).to_be_in_viewport()
        assert server.of_type("show")[-1]["at"] == {"head": True}
        page.keyboard.press("G")
        expect(row(page, "1-11999")).to_be_in_viewport()
        assert server.of_type("latest") == [{"type": "latest", "count": 1000}]

    def test_paused_loses_nothing(self, serve, read_log):
        server = serve(numbered(1000))
        page = read_log(server)
        expect(row(page, "1-999")).to_be_visible()
        page.keyboard.press("f")
        before = top(page)

        for begin in range(1000, 8000, 500):
            server.push(numbered(500, first=begin))

        expect(button(page, "7,000 new lines")).to_be_visible()
        assert top(page) == before
        for _ in range(60):
            scroll(page, "bottom")
            page.wait_for_timeout(60)
            if row(page, "1-7999").count():
                break
        expect(row(page, "1-7999")).to_be_in_viewport()
        cursors = [each["cursors"] for each in server.of_type("after")]
        assert cursors[0] == {"1": 5000}  # the first that did not fit
        server.push(numbered(2, first=8000))
        expect(row(page, "1-8001")).to_be_in_viewport()

    def test_the_pill_leads_to_the_tail(self, serve, read_log):
        server = serve(numbered(1000))
        page = read_log(server)
        expect(row(page, "1-999")).to_be_visible()
        page.keyboard.press("f")
        server.push(numbered(1, first=1000))

        button(page, "1 new line").click()

        expect(row(page, "1-1000")).to_be_in_viewport()
        expect(page.get_by_role("button", name="Follow new lines")).to_have_attribute("aria-pressed", "true")
        expect(page.locator("[data-role=pill]")).to_be_hidden()

    def test_a_show_without_an_answer_keeps_what_there_is(self, serve, read_log):
        server = serve(numbered(3000))
        server.answers_shows = False
        page = read_log(server)
        expect(row(page, "1-2999")).to_be_visible()

        page.keyboard.press("g")

        expect(page.get_by_text("Reading the log…")).to_be_visible()
        expect(row(page, "1-2999")).to_be_visible()
        server.push(numbered(2, first=3000))
        expect(row(page, "1-3001")).to_be_visible()  # still live


class TestReconnecting:
    def test_goes_on_from_its_cursors(self, serve, read_log):
        server = serve(numbered(100), streams=[pod(1), pod(2, rank=5)])
        page = read_log(server)
        expect(row(page, "1-99")).to_be_visible()

        server.is_open = False
        server.cut()
        server.write(numbered(50, first=100))
        expect(page.get_by_text("Reconnecting")).to_be_visible()
        server.is_open = True

        expect(row(page, "1-149")).to_be_visible()
        assert server.of_type("resume") == [{"type": "resume", "cursors": {"1": 100, "2": 0}, "filter": {}}]
        assert held(page) == 150

    def test_in_the_middle_it_stays_there(self, serve, read_log):
        server = serve(numbered(12_000))
        page = read_log(server, "#L1-6000")
        expect(row(page, "1-6000")).to_be_in_viewport()
        page.wait_for_timeout(700)
        before = top(page)

        server.cut()
        await_message(server, page, "show", 2)
        page.wait_for_timeout(500)

        assert top(page)[0] == before[0]
        assert server.of_type("show")[1]["at"] == {"line": [1, int(before[0].split("-")[1])]}

    def test_rewind_takes_back_what_never_was_durable(self, serve, read_log):
        server = serve(numbered(20))
        page = read_log(server)
        expect(row(page, "1-19")).to_be_visible()

        server.say({"type": "rewind", "s": 1, "to": 15})

        expect(row(page, "1-15")).to_have_count(0)
        expect(row(page, "1-14")).to_be_visible()
        server.say({"type": "lines", "lines": [line(1, 15, "written anew", second=15)]})
        expect(message(page, "1-15")).to_have_text("written anew")
        assert held(page) == 16

    def test_lag_is_told(self, serve, read_log):
        page = read_log(server := serve(numbered(5)))
        expect(row(page, "1-4")).to_be_visible()

        server.say({"type": "lag", "behind": 12_300})
        expect(page.get_by_text("You are 12,300 lines behind: catching up")).to_be_visible()
        server.say({"type": "lag", "behind": 0})
        expect(page.get_by_text("lines behind")).to_be_hidden()

    def test_the_end_reads_complete(self, serve, read_log):
        page = read_log(server := serve(numbered(5)))
        expect(row(page, "1-4")).to_be_visible()
        expect(page.locator(".logview-state")).to_have_text("Live")

        server.say({"type": "end"})

        expect(page.locator(".logview-state")).to_have_text("Complete")


class TestPermalink:
    def test_a_click_on_a_number_names_the_line_and_shift_a_range(self, serve, read_log):
        page = read_log(serve(numbered(100)))
        row(page, "1-90").locator(".n").click()

        assert page.evaluate("location.hash") == "#L1-90"
        expect(page.get_by_text("1 line chosen")).to_be_visible()
        row(page, "1-86").locator(".n").click(modifiers=["Shift"])

        assert page.evaluate("location.hash") == "#L1-86,1-90"
        expect(page.get_by_text("5 lines chosen")).to_be_visible()
        expect(page.locator(".logrow.picked")).to_have_count(5)
        page.keyboard.press("Escape")
        assert page.evaluate("location.hash") == ""
        expect(page.locator(".logrow.picked")).to_have_count(0)

    def test_the_link_opens_at_the_line_in_its_surroundings(self, serve, read_log):
        server = serve(numbered(12_000))

        page = read_log(server, "#L1-4321")

        expect(row(page, "1-4321")).to_be_in_viewport()
        expect(row(page, "1-4321")).to_have_class(re.compile("picked"))
        expect(row(page, "1-4319")).to_be_in_viewport()
        expect(row(page, "1-4323")).to_be_in_viewport()
        assert [each["at"] for each in server.of_type("show")] == [{"line": [1, 4321]}]

    def test_a_line_that_is_not_there_is_told(self, serve, read_log):
        page = read_log(serve(numbered(10)), "#L1-77")

        expect(page.get_by_text("That line is not in this log, or the filter hides it")).to_be_visible()
        expect(row(page, "1-9")).to_be_visible()


class TestVolume:
    def test_sixty_thousand_lines_leave_five_thousand(self, serve, read_log):
        server = serve()
        page = read_log(server)
        expect(page.locator(".logview-state")).to_have_text("Live")

        for begin in range(0, 60_000, 1000):
            server.say({"type": "lines", "lines": numbered(1000, first=begin)})

        expect(row(page, "1-59999")).to_be_in_viewport()
        assert held(page) == 5000
        assert page.locator(".logrow").count() < 120
