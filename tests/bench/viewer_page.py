"""A log page in a real browser while a million lines come: the longest task of its main thread and its heap.

`measure()` is for a bench to call; `python -m tests.bench.viewer_page [lines]` prints a table of its own.
The page has the real templates, scripts and policy; the socket is a small server in this process.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import django

from tests.bench.table import Row, report

FRAME_LINES = 400  # about 64 KiB, as the server sends
LONGEST_TASK_MS = 100
LARGEST_HEAP_MB = 150
FLAGS = ("--no-sandbox", "--disable-gpu", "--enable-precise-memory-info")
WATCH = """() => {
  window.watched = { longest: 0, long: 0 };
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      watched.longest = Math.max(watched.longest, duration);
      watched.long += duration > 100 ? 1 : 0;
    }
  }).observe({ type: 'longtask' });
}"""


@dataclass(frozen=True)
class Figures:
    lines: int
    seconds: float  # from the first line sent to the last one shown
    longest_task_ms: float  # of the main thread, by the clock; tasks below 50 ms count as 0
    longest_task_cpu_ms: float  # of its processor time: what other programs on the machine do counts for nothing
    tasks_over_100_ms: int
    peak_heap_mb: float  # garbage included
    heap_mb: float  # after collecting garbage, with the page still open
    rows_drawn: int
    rows_held: int


def measure(lines: int = 1_000_000, *, streams: int = 4, is_paused: bool = False) -> Figures:
    """Streams `lines` into a page that follows, or whose reader has stopped. Raises RuntimeError without Chromium."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cube.settings.test")
    django.setup()
    from playwright.sync_api import sync_playwright

    from tests.journeys.logserver import LogServer, pod, serving

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        raise RuntimeError("no chromium on this machine")
    server = LogServer([pod(n, rank=n - 1) for n in range(1, streams + 1)])
    with serving(server), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(server.url)
        page.wait_for_selector("[data-state=connected], [data-state=idle]")
        page.wait_for_timeout(1000)
        if is_paused:
            server.say(*frames(2000, streams))
            page.wait_for_selector(".logrow")
            page.keyboard.press("f")
        page.evaluate(WATCH)
        figures = _stream(page, server, lines, streams, is_paused)
        browser.close()
    return figures


def _longest_cpu_ms(trace: bytes) -> float:
    """The longest task of a page's main thread in a trace of Chromium, by the thread's own clock."""
    events = json.loads(trace)["traceEvents"]
    main = {
        (e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    tasks = (e.get("tdur", 0) for e in events if e["name"] == "RunTask" and (e["pid"], e["tid"]) in main)
    return max(tasks, default=0) / 1000


def _stream(page: Any, server: Any, lines: int, streams: int, is_paused: bool) -> Figures:
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    page.context.browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline"])
    begun = time.monotonic()
    heap = 0.0
    first = 2000 if is_paused else 0
    for number, frame in enumerate(frames(lines, streams, first=first)):
        server.say(frame)
        if number % 100 == 99:
            heap = max(heap, _heap_mb(devtools))
    last = f"{(first + lines - 1) % streams + 1}-{(first + lines - 1) // streams}"
    if is_paused:
        page.locator("[data-role=pill]", has_text="new lines").wait_for()
    else:
        page.wait_for_selector(f".logrow[data-key='{last}']", state="attached", timeout=120_000)
    seconds = time.monotonic() - begun
    page.wait_for_timeout(500)
    heap = max(heap, _heap_mb(devtools))
    watched = page.evaluate("watched")
    longest_cpu = _longest_cpu_ms(page.context.browser.stop_tracing())
    devtools.send("HeapProfiler.collectGarbage")
    return Figures(
        lines=lines,
        seconds=seconds,
        longest_task_ms=watched["longest"],
        longest_task_cpu_ms=longest_cpu,
        tasks_over_100_ms=watched["long"],
        peak_heap_mb=heap,
        heap_mb=_heap_mb(devtools),
        rows_drawn=page.locator(".logrow").count(),
        rows_held=page.locator("[data-role=canvas]").evaluate("each => Math.round(parseFloat(each.style.height) / 20)"),
    )


def frames(lines: int, streams: int, *, first: int = 0) -> Iterator[str]:
    """Messages of coloured training lines, a second for every thousand."""
    for begin in range(first, first + lines, FRAME_LINES):
        batch = [_line(number, streams) for number in range(begin, min(begin + FRAME_LINES, first + lines))]
        yield json.dumps({"type": "lines", "lines": batch})


def _line(number: int, streams: int) -> dict[str, Any]:
    stream, ordinal = number % streams + 1, number // streams
    minutes, seconds = divmod(number // 1000, 60)
    stamp = f"2026-11-24T{2 + minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{number % 1000:03d}000000Z"
    text = (
        f"\x1b[36mINFO\x1b[0m rank={stream} step={ordinal} loss=\x1b[1m{1000 / (ordinal + 1000):.6f}\x1b[0m lr=3.0e-04"
    )
    return {"s": stream, "n": ordinal, "t": stamp, "m": text}


def _heap_mb(devtools: Any) -> float:
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "JSHeapUsedSize")) / 1e6


def rows(figures: Figures, what: str) -> list[Row]:
    longest, heap = figures.longest_task_ms, figures.peak_heap_mb
    rate = figures.lines / figures.seconds
    return [
        Row(f"{what}: longest task", f"{longest:.0f} ms" if longest else "< 50 ms", f"<= {LONGEST_TASK_MS} ms", "",
            longest <= LONGEST_TASK_MS),
        Row(f"{what}: its processor time at most", f"{figures.longest_task_cpu_ms:.0f} ms", "", "", None),
        Row(f"{what}: peak heap", f"{heap:.0f} MB", f"<= {LARGEST_HEAP_MB} MB", "", heap <= LARGEST_HEAP_MB),
        Row(f"{what}: rows held, drawn", f"{figures.rows_held}, {figures.rows_drawn}", "<= 5000", "",
            figures.rows_held <= 5000),
        Row(f"{what}: lines a second", f"{rate:,.0f}", "", "", None),
    ]  # fmt: skip


def main(lines: int) -> int:
    return report(
        [
            *rows(measure(lines), f"{lines:,} lines, following"),
            *rows(measure(lines, is_paused=True), f"{lines:,} lines, paused"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
