"""L11 and L12: searching what was stored, and the page in a browser."""

import time

import orjson

from .bench import Bench, quick, tell

NEEDLE = "needle-7f3a"
IN_PACKS = "SELECT count(*) FROM logs_logsegment WHERE name LIKE 'packs/%'"
WAVE = 50  # containers that are written at a time


def l11(bench: Bench) -> None:
    """10 million lines of 500 containers: a rare and a common term, first page, by text and by regular expression."""
    containers, lines = int(quick(50, 500)), int(quick(4_000, 20_000))
    _fill(bench, containers=containers, lines=lines)
    made = orjson.loads(bench.cube.python("tests.bench.logs.search", bench.cube.jobs["l11"].uid, NEEDLE))
    total = f"{containers * lines:,} lines, {containers} containers"
    for what in ("rare", "rare_regex", "common", "common_regex"):
        bar, found, took = 1000 if what.startswith("rare") else 300, made["found"][what], made[what]
        right = found == (1 if what.startswith("rare") else made["page"])
        reference = f"{total}; {made['grep'][what]}"
        measured = f"{took:.0f} ms, {found} found"
        bench.row(f"L11 {what.replace('_', ', ')}", measured, f"≤ {bar} ms", reference, took <= bar and right)


def _fill(bench: Bench, *, containers: int, lines: int) -> None:
    """Through the collector, a wave of pods at a time: what the store holds has come in as in life."""
    begun = time.monotonic()
    with bench.collecting(keep_lines=False):
        for first in range(0, containers, WAVE):
            names = [f"l11-{at}" for at in range(first, min(containers, first + WAVE))]
            job = bench.cube.jobs["l11"]
            bench.server.pods(namespace=job.namespace, names=names, labels=job.labels)
            if first == WAVE * (containers // WAVE // 2):
                bench.server.text(pod=names[0], lines=[f"one line with the {NEEDLE} in it"])
            bench.server.write(pods=names, lines=lines)
            bench.server.finish(pods=names)
            bench.cube.wait_stored("l11")
            for name in names:
                bench.server.delete(pod=name)
        tell(f"  {containers * lines:,} lines stored in {time.monotonic() - begun:.0f} s")
        while (left := bench.cube.query(IN_PACKS)[0][0]) and time.monotonic() - begun < 600:
            time.sleep(1)
        tell(
            f"  history, that is joined segments with filters, after {time.monotonic() - begun:.0f} s; {left} in packs"
        )


def l12(bench: Bench) -> None:
    """A browser with a million lines."""
    from tests.bench import viewer_page

    lines = int(quick(200_000, 1_000_000))
    bench.rows += viewer_page.rows(viewer_page.measure(lines), "L12 following")
    bench.rows += viewer_page.rows(viewer_page.measure(lines, is_paused=True), "L12 paused")
