"""What people see and do in the log viewer, one function per habit."""


def row(page, key):
    return page.locator(f".logrow[data-key='{key}']")


def message(page, key):
    return row(page, key).locator(".m")


def scroll(page, to):
    """To "top" or "bottom", as by a wheel that is turned until the list ends."""
    page.get_by_role("log").evaluate("(body, to) => { body.scrollTop = to === 'top' ? 0 : body.scrollHeight; }", to)


def top(page):
    """Key and place of the first row in view."""
    return page.get_by_role("log").evaluate(
        """body => {
          const edge = body.getBoundingClientRect().top;
          const below = (each) => each.getBoundingClientRect().bottom > edge + 1;
          const row = [...body.querySelectorAll('.logrow')].find(below);
          return [row.dataset.key, Math.round(row.getBoundingClientRect().top - edge)];
        }"""
    )


def held(page):
    """The keys of the rows in the list, drawn or not, by what the canvas is high."""
    return page.locator("[data-role=canvas]").evaluate("canvas => Math.round(parseFloat(canvas.style.height) / 20)")


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def await_message(server, page, kind, count=1):
    for _ in range(200):
        if len(server.of_type(kind)) >= count:
            return server.of_type(kind)[count - 1]
        page.wait_for_timeout(25)
    raise AssertionError(f"no {kind} within 5 s: {[each['type'] for each in server.asked]}")
