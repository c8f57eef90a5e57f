// Looking again when something was told: one look at a time, and another when something was told meanwhile, since what is
// being fetched may be older than that.

/** `soon()` asks for a look within `wait` milliseconds: one change often brings several. What takes long is done less often. */
export function refresher(look, wait) {
  let [busy, again, pending, took] = [false, false, null, 0];

  async function now() {
    pending = null;
    again = busy;
    if (busy) return;
    busy = true;
    const begun = performance.now();
    try {
      await look();
    } finally {
      busy = false;
      took = performance.now() - begun;
      if (again) soon();
    }
  }

  // Not put off by the next change: where changes never stop, a page would never look.
  function soon() {
    pending ??= setTimeout(now, Math.max(wait, took));
  }
  return soon;
}

/** Puts the elements of these ids in place of the page's own, and lets the page's scripts know of them. */
export function replaceParts(ids, fresh) {
  for (const id of ids) {
    const [now, then] = [fresh.getElementById(id), document.getElementById(id)];
    if (!now || !then) continue;
    then.replaceWith(document.importNode(now, true));
    document.body.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true, detail: { elt: document.getElementById(id) } }));
  }
}

/** The fragment that a page gives to a script, as a document; null when it gives none. */
export async function fetchFragment(url) {
  const answer = await fetch(url, { headers: { "HX-Request": "true" }, cache: "no-store" });
  return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
}
