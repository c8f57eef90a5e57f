// Looking again when something was told: one look at a time, and another when something was told meanwhile, since what is
// being fetched may be older than that.
import { Idiomorph } from "cube/vendor/idiomorph";

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

// An open menu stays as it is until it closes, and a field being filled in keeps its value: what somebody is about to
// press must not move, and a form that waits for a yes must still be in the page when it comes. A row of a list that has
// a menu needs an id of its own, or the menu would be taken for the next row's.
const KEPT = {
  morphStyle: "outerHTML",
  ignoreActiveValue: true,
  callbacks: { beforeNodeMorphed: (node) => !node.matches?.("details[data-menu][open]") },
};

/** Makes the elements of these ids what they are in `fresh`, and lets the page's scripts know of them. */
export function replaceParts(ids, fresh) {
  for (const id of ids) {
    const [now, then] = [fresh.getElementById(id), document.getElementById(id)];
    if (!now || !then) continue;
    Idiomorph.morph(then, now, KEPT);
    document.body.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true, detail: { elt: document.getElementById(id) } }));
  }
}

/** The fragment that a page gives to a script, as a document; null when it gives none. */
export async function fetchFragment(url) {
  const answer = await fetch(url, { headers: { "HX-Request": "true" }, cache: "no-store" });
  return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
}
