// Keeps the head, timeline and pods of a job page as fresh as its rows. Pushes are thin: the page asks for what changed.
import { connect } from "cube/socket";
import "cube/elapsed";

const page = document.querySelector("[data-job-page]");
const PARTS = ["job-head", "job-timeline", "job-pods", "job-pod-count"];
let shown = Number(page.dataset.version);
let wanted = shown;
let busy = false;
let again = false;

async function refresh() {
  if (busy) {
    again = true;  // what is being fetched may be older than what was just told
    return;
  }
  [busy, again] = [true, false];
  const aim = wanted;
  try {
    const answer = await fetch(page.dataset.url, { headers: { "HX-Request": "true" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of PARTS) {
      const [now, then] = [fresh.getElementById(id), document.getElementById(id)];
      if (!now || !then) continue;
      then.replaceWith(document.importNode(now, true));
      document.body.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true, detail: { elt: document.getElementById(id) } }));
    }
    shown = aim;
  } finally {
    busy = false;
    if (again) soon();
  }
}

let pending;
function soon() {
  clearTimeout(pending);
  pending = setTimeout(refresh, 80);  // a start brings several changes at once
}

let joinedBefore = false;
connect(page.dataset.socket, {
  onState(state) {
    if (state !== "connected") return;
    if (joinedBefore) soon();  // pods may have changed while nobody told us
    joinedBefore = true;
  },
  onMessage(message) {
    if (message.type === "job.status_changed") {
      if (message.version <= shown) return;
      wanted = Math.max(wanted, message.version);
    }
    soon();
  },
});
