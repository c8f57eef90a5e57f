// The page of a schedule, kept up to date: a push says that something changed, the page fetches its moving parts.
import { connect } from "cube/socket";

const page = document.querySelector("[data-schedule-page]");
let pending;
let missed = false;

function soon() {
  clearTimeout(pending);
  pending = setTimeout(refresh, 400);
}

/** Not while somebody chooses a verb or writes a note: what they are about to press must not move. */
const isBusy = () => page.querySelector("details[open]") || page.contains(document.activeElement?.closest("input, textarea"));

async function refresh() {
  if (isBusy()) return soon();
  const answer = await fetch(location.href, { headers: { "HX-Request": "true" }, cache: "no-store" });
  if (!answer.ok) return;
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text();  // our own server's rendered rows, escaped there
  for (const fresh of [...holder.content.querySelectorAll("[id]")].filter((part) => part.id.startsWith("schedule-"))) {
    document.getElementById(fresh.id)?.replaceWith(fresh);
    document.body.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true, detail: { elt: fresh } }));
  }
}

connect(page.dataset.socket, {
  onMessage({ type }) {
    if (type === "schedule.changed" || (type === "schedule.joined" && missed)) soon();
  },
  onState(state) {
    if (state === "reconnecting") missed = true;
  },
});
