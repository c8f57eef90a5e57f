"""The log viewer: how lines look, and what may be done with them."""
# ruff: noqa: RUF001

import json
import re

from playwright.sync_api import expect

from .logpage import button, held, message, row, top
from .logserver import line, numbered, pod

HOSTILE = [
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "\x1b]8;;javascript:document.title='owned'\x07click me\x1b]8;;\x07",
    "\x1b]0;a title\x07after the title",
    "\x1b[2J\x1b[10;10Hmoved \x1b[3Aup",
    "nul\x00byte",
    "\x1b[31mred\x1b[0m plain",
    "\x1b]52;c;unterminated clipboard",
    "abc\u202edesrever",
    '"><b data-act="more" class="n">forged</b>',
]


class TestRows:
    def test_nothing_a_job_prints_is_markup(self, serve, read_log):
        page = read_log(serve([line(1, n, text, second=n) for n, text in enumerate(HOSTILE)]))

        shown = [message(page, f"1-{n}").inner_text() for n in range(len(HOSTILE))]

        assert shown == [
            HOSTILE[0],
            HOSTILE[1],
            "click me",
            "after the title",
            "moved up",
            "nul␀byte",
            "red plain",
            "52;c;unterminated clipboard",
            "abc‹U+202E›desrever",
            HOSTILE[9],
        ]
        expect(message(page, "1-6").locator(".f1")).to_have_text("red")
        assert page.locator(".m img, .m script, .m a, .m b").count() == 0
        assert page.title() == "log · Cube"

    def test_a_storm_of_colours_ends_in_plain_text(self, serve, read_log):
        storm = "".join(f"\x1b[3{n % 8}mx" for n in range(680))
        page = read_log(serve([line(1, n, storm, second=n) for n in range(200)]))

        expect(message(page, "1-199")).to_have_text("x" * 680)
        assert message(page, "1-199").locator("span").count() < 160

    def test_strange_characters_stay_within_their_row(self, serve, read_log):
        texts = ["\u200b" * 200, "\u05e9\u05dc\u05d5\u05dd abc", "z" + "\u0300" * 300, "\ufeff\u2060", "a\x08\x07b", ""]
        page = read_log(serve([line(1, n, text, second=n) for n, text in enumerate(texts)]))

        expect(row(page, "1-5")).to_be_attached()

        assert page.locator(".logrow").evaluate_all("rows => rows.map((each) => each.offsetHeight)") == [20] * 6
        expect(message(page, "1-4")).to_have_text("ab")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    def test_a_gap_is_a_band_with_cause_and_span(self, serve, read_log):
        gap = {
            "cause": "rotation",
            "since": "2026-11-24T02:00:10.000000000Z",
            "until": "2026-11-24T02:00:12.500000000Z",
            "bytes": 1_240_000,
            "text": "The oldest file was gone.",
        }
        page = read_log(serve([*numbered(3), line(1, 3, json.dumps(gap), second=13, kind="gap", gap=gap)]))

        expect(row(page, "1-3").locator(".band")).to_contain_text("Lines are missing. The oldest file was gone.")
        expect(row(page, "1-3").locator(".facts-of-gap")).to_have_text("02:00:10 – 02:00:12 (2.500 s) · 1.2 MB")

    def test_a_late_line_goes_where_its_time_says(self, serve, read_log):
        server = serve(
            [line(s, n, f"{s}/{n}", second=2 * n + s / 2) for n in range(5) for s in (1, 2)], streams=[pod(1), pod(2)]
        )
        page = read_log(server)
        expect(row(page, "2-4")).to_be_visible()

        server.say({"type": "lines", "lines": [line(1, 5, "earlier", second=8.7) | {"l": 1}]})

        expect(row(page, "1-5")).to_contain_text("late")
        keys = page.locator(".logrow").evaluate_all("rows => rows.map((row) => row.dataset.key)")
        assert keys[-3:] == ["1-4", "1-5", "2-4"]

    def test_the_same_line_of_many_ranks_is_one(self, serve, read_log):
        streams = [pod(s, rank=s - 1) for s in range(1, 9)]
        lines = [line(s, 0, "NCCL ready", second=1 + s / 100) for s in range(1, 9)]
        lines += [line(s, 1, f"only {s}", second=2) for s in range(1, 9)]
        page = read_log(serve(lines, streams=streams))

        count = row(page, "1-0").get_by_role("button", name="The same line from 8 pods")
        expect(count).to_have_text("×8")
        assert held(page) == 9
        count.click()
        expect(row(page, "8-0")).to_be_visible()
        assert held(page) == 16
        count.click()
        expect(row(page, "8-0")).to_have_count(0)

    def test_a_progress_bar_is_its_last_state_and_opens(self, serve, read_log):
        page = read_log(serve([line(1, 0, "\r".join(f"{n}%" for n in range(0, 101, 10)) + "\r", second=0)]))
        expect(message(page, "1-0")).to_have_text("11 states100%")

        button(page, "11 states").click()

        expect(page.locator(".logpanel-body")).to_have_text("\n".join(f"{n}%" for n in range(0, 101, 10)) + "\n")

    def test_a_long_line_is_cut_and_opens_whole(self, serve, read_log):
        text = "start " + "x" * 5_000_000 + " end"
        server = serve([*numbered(5), line(1, 5, text, second=5)])
        page = read_log(server)
        expect(row(page, "1-5")).to_contain_text("5.0 MB more")

        row(page, "1-5").get_by_role("button", name="more").click()

        body = page.locator(".logpanel-body")
        expect(body).to_contain_text("start xxxxx")
        assert server.of_type("whole") == [{"type": "whole", "line": [1, 5]}]
        assert body.evaluate("body => body.textContent.length") < 100_000  # only what is looked at is laid out
        body.evaluate("body => { body.scrollTop = body.scrollHeight; }")
        page.wait_for_timeout(200)
        assert body.evaluate("body => body.textContent.length") > 20_000

    def test_time_stamps_in_three_ways(self, serve, read_log):
        page = read_log(serve(numbered(10, step=61.5)))
        expect(row(page, "1-2")).to_be_visible()
        assert row(page, "1-2").locator(".t").count() == 0

        page.keyboard.press("t")
        expect(row(page, "1-2").locator(".t")).to_have_text("11-24 02:02:03.000")
        page.keyboard.press("t")
        expect(row(page, "1-2").locator(".t")).to_have_text("+0:02:03.000")
        page.keyboard.press("t")
        expect(row(page, "1-2").locator(".t")).to_have_text("+0:01:01")
        page.keyboard.press("t")
        expect(row(page, "1-2").locator(".t")).to_have_count(0)

    def test_first_error_and_a_time(self, serve, read_log):
        server = serve([line(1, n, "ValueError: bad" if n == 4000 else "fine", second=n) for n in range(12_000)])
        page = read_log(server)
        expect(row(page, "1-11999")).to_be_visible()

        page.keyboard.press("e")
        expect(row(page, "1-4000")).to_be_in_viewport()
        page.locator("[data-role=jump] summary").click()
        page.get_by_label("Go to a time").last.fill("2026-11-24T02:30:00")
        button(page, "Go").click()

        expect(row(page, "1-1800")).to_be_in_viewport()
        assert server.of_type("show")[-1]["at"] == {"time": "2026-11-24T02:30:00.000000000Z"}

    def test_copying_what_is_chosen(self, serve, read_log):
        page = read_log(serve([line(1, n, f"\x1b[32mline {n}\x1b[0m", second=n) for n in range(10)]))
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        row(page, "1-3").locator(".n").click()
        row(page, "1-4").locator(".n").click(modifiers=["Shift"])

        page.keyboard.press("c")

        expect(page.get_by_text("Copied 2 lines")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == "line 3\nline 4"

    def test_wrapped_rows_keep_the_place(self, serve, read_log):
        page = read_log(serve([line(1, n, f"{n} " + "word " * (n % 90), second=n) for n in range(1000)]), "#L1-500")
        expect(row(page, "1-500")).to_be_in_viewport()
        page.wait_for_timeout(700)
        before = top(page)[0]

        page.keyboard.press("w")
        page.wait_for_timeout(300)

        assert top(page)[0] == before
        assert page.get_by_role("log").evaluate("body => body.scrollWidth <= body.clientWidth")


class TestOnAPhone:
    def test_everything_fits_and_menus_stay_within(self, serve, read_log):
        streams = [pod(s, rank=s - 1) for s in range(1, 65)]
        page = read_log(
            serve([line(s, 0, "wide " * 99, second=s) for s in range(1, 65)], streams=streams), width=390, height=844
        )
        expect(page.locator(".logrow").first).to_be_visible()
        page.keyboard.press("s")

        for opener in ("podmenu", "jump", "downloads"):
            page.locator(f"[data-role={opener}] > summary").click()
            box = page.locator(f"[data-role={opener}] > .menu-panel").bounding_box()
            assert (box["x"] >= 0, box["x"] + box["width"] <= 390) == (True, True), opener
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


class TestTheKeys:
    def test_a_sheet_lists_them(self, serve, read_log):
        page = read_log(serve(numbered(5)))
        expect(row(page, "1-4")).to_be_visible()

        page.keyboard.press("?")

        expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)

    def test_letters_in_a_field_are_letters(self, serve, read_log):
        page = read_log(serve(numbered(5)))
        page.get_by_label("Find in log").click()

        page.keyboard.type("wft")

        expect(page.get_by_label("Find in log")).to_have_value("wft")
        expect(page.locator(".logview")).not_to_have_class(re.compile("wrap"))
