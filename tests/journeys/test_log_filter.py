"""The log viewer: what the reader asks for, by filter, pods and find."""

from playwright.sync_api import expect

from .logpage import await_message, button, held, message, row
from .logserver import line, numbered, pod


class TestFilter:
    def test_the_server_is_asked_and_the_rest_is_gone(self, serve, read_log):
        server = serve([line(1, n, "loss=0.5" if n % 100 == 0 else "step", second=n) for n in range(3000)])
        page = read_log(server)
        expect(row(page, "1-2999")).to_be_visible()

        page.keyboard.press("s")
        page.get_by_label("Only lines with").fill("loss=")
        page.keyboard.press("Enter")

        expect(row(page, "1-2999")).to_have_count(0)
        expect(row(page, "1-2900")).to_be_visible()
        assert held(page) == 30
        show = server.of_type("show")[-1]
        assert show["filter"] == {"text": "loss=", "regex": False, "case": False}
        assert show["at"] == {"tail": True}
        server.push([line(1, 3000, "loss=0.1", second=3000), line(1, 3001, "step", second=3001)])
        expect(row(page, "1-3000")).to_be_visible()
        assert held(page) == 31
        button(page, "Clear").click()
        expect(row(page, "1-3001")).to_be_visible()
        assert server.of_type("show")[-1]["filter"] == {}

    def test_a_wrong_regex_is_told_at_its_field(self, serve, read_log):
        server = serve(numbered(10))
        page = read_log(server)
        page.keyboard.press("s")
        page.get_by_label("Only lines with").fill("(")

        page.locator("label:has([name=regex])").click()

        expect(page.get_by_role("alert")).to_contain_text("Not a regular expression")
        expect(page.get_by_label("Only lines with")).to_have_attribute("aria-invalid", "true")
        expect(row(page, "1-9")).to_be_visible()

    def test_nothing_passes(self, serve, read_log):
        page = read_log(serve(numbered(10)))
        page.keyboard.press("s")
        page.get_by_label("Only lines with").fill("absent")
        page.keyboard.press("Enter")

        expect(page.get_by_text("No line passes this filter.")).to_be_visible()
        button(page, "Clear the filter").click()
        expect(row(page, "1-9")).to_be_visible()

    def test_a_span_of_time(self, serve, read_log):
        server = serve(numbered(600))
        page = read_log(server)
        page.keyboard.press("s")
        page.get_by_label("From", exact=True).fill("2026-11-24T02:01:00")
        page.get_by_label("To", exact=True).fill("2026-11-24T02:01:10")
        button(page, "Apply").click()

        expect(row(page, "1-60")).to_be_visible()
        assert held(page) == 11
        assert server.of_type("show")[-1]["filter"] == {
            "since": "2026-11-24T02:01:00.000000000Z",
            "until": "2026-11-24T02:01:10.000000000Z",
        }

    def test_pods_by_chips(self, serve, read_log):
        streams = [pod(s, rank=s - 1) for s in (1, 2, 3)]
        server = serve([line(s, n, f"of {s}", second=n) for n in range(5) for s in (1, 2, 3)], streams=streams)
        page = read_log(server)

        page.get_by_role("button", name="rank 0").click()

        expect(row(page, "1-4")).to_have_count(0)
        expect(row(page, "2-4")).to_be_visible()
        assert server.of_type("show")[-1]["filter"] == {"pods": ["train-1", "train-2"]}

    def test_hiding_the_last_pod_shows_all_again(self, serve, read_log):
        lines = [line(s, 0, f"of {s}", second=s) for s in (1, 2)]
        page = read_log(serve(lines, streams=[pod(1, rank=0), pod(2, rank=1)]))
        page.get_by_role("button", name="rank 0").click()
        expect(row(page, "1-0")).to_have_count(0)

        page.get_by_role("button", name="rank 1").click()

        expect(row(page, "1-0")).to_be_visible()
        expect(row(page, "2-0")).to_be_visible()

    def test_many_pods_are_a_menu_that_can_be_searched(self, serve, read_log):
        streams = [pod(s, rank=s - 1) for s in range(1, 513)]
        server = serve([line(s, 0, f"hello from {s}", second=s) for s in range(1, 513)], streams=streams)
        page = read_log(server)
        expect(page.locator(".logview-streams .chip")).to_have_count(0)

        page.get_by_text("512 pods").click()
        page.get_by_label("Rank or pod").fill("rank 77")
        page.locator("[data-pod=train-77]").get_by_role("button", name="Only").click()

        expect(message(page, "78-0")).to_have_text("hello from 78")
        assert held(page) == 1
        assert server.of_type("show")[-1]["filter"] == {"pods": ["train-77"]}
        expect(page.get_by_text("1 of 512 pods")).to_be_visible()


class TestFind:
    def test_marks_what_is_held_and_steps_through_the_whole_history(self, serve, read_log):
        texts = {100: "needle far away", 11_500: "a needle here", 11_900: "needle and needle"}
        server = serve([line(1, n, texts.get(n, "hay"), second=n) for n in range(12_000)])
        page = read_log(server)
        expect(row(page, "1-11999")).to_be_visible()

        page.keyboard.press("/")
        page.keyboard.type("NEEDLE")

        expect(page.locator("[data-role=found]")).to_have_text("3 of 3 loaded")
        expect(row(page, "1-11900").locator("mark")).to_have_text(["needle", "needle"])
        assert server.of_type("find") == []
        page.keyboard.press("Enter")  # beyond what is held: the server, from the start again

        expect(row(page, "1-100")).to_be_in_viewport()
        expect(row(page, "1-100").locator("mark.now")).to_have_text("needle")
        find = server.of_type("find")[0]
        assert (find["text"], find["direction"], find["from"][1:]) == ("NEEDLE", 1, [1, 11_900])
        expect(page.get_by_text("Went on from the other end of the log")).to_be_visible()
        page.keyboard.press("Enter")
        expect(row(page, "1-11500")).to_be_in_viewport()
        expect(row(page, "1-11500").locator("mark.now")).to_have_text("needle")
        page.keyboard.press("Shift+Enter")
        expect(row(page, "1-100")).to_be_in_viewport()

    def test_a_regex_and_case(self, serve, read_log):
        page = read_log(serve([line(1, n, f"Loss={n}.5 loss", second=n) for n in range(20)]))
        page.get_by_role("button", name="Regular expression").first.click()
        page.get_by_role("button", name="Match case").first.click()
        page.get_by_label("Find in log").fill(r"Loss=1\d")

        expect(page.locator("mark")).to_have_text([f"Loss={n}" for n in range(10, 20)])

    def test_a_pattern_that_never_ends_does_not_stop_the_page(self, serve, read_log):
        page = read_log(serve([line(1, n, "a" * 3000, second=n) for n in range(20)]))
        page.get_by_role("button", name="Regular expression").first.click()

        page.get_by_label("Find in log").fill("(a+)+$b")
        page.wait_for_timeout(300)

        assert page.evaluate("new Promise((done) => setTimeout(() => done('alive'), 50))") == "alive"

    def test_none(self, serve, read_log):
        page = read_log(serve(numbered(10)))
        page.get_by_label("Find in log").fill("absent")
        expect(page.locator("[data-role=found]")).to_have_text("Enter: whole log")
        page.keyboard.press("Enter")
        expect(page.locator("[data-role=found]")).to_have_text("No match")

    def test_too_much_to_search_is_told(self, serve, read_log):
        page = read_log(server := serve(numbered(10)))
        page.get_by_label("Find in log").fill("absent")
        server.answers_finds = False
        page.keyboard.press("Enter")
        number = await_message(server, page, "find")["id"]

        server.say({"type": "found", "id": number, "line": None, "wrapped": False, "busy": True})

        expect(page.locator("[data-role=found]")).to_have_text("Too much to search: filter first")
