// Keeps the head, timeline and pods of a job page as fresh as its rows. Pushes are thin: the page asks for what changed.
import { connect } from "cube/socket";
import "cube/elapsed";

const page = document.querySelector("[data-job-page]");
const PARTS = ["job-head", "job-timeline", "job-pods", "job-pod-count"];
let shown = Number(page.dataset.version);
let wanted = shown;
let busy = false;

async function refresh() {
  if (busy) return;
  busy = true;
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
    shown = wanted;
  } finally {
    busy = false;
  }
  if (wanted > shown) refresh();
}

let pending;
function soon() {
  clearTimeout(pending);
  pending = setTimeout(refresh, 80);  // a start brings several changes at once
}

connect(page.dataset.socket, {
  onMessage(message) {
    if (message.type === "job.status_changed") {
      if (message.version <= wanted) return;
      wanted = message.version;
    }
    soon();
  },
});
