// Keeps the head, timeline and pods of a job page as fresh as its rows. Pushes are thin: the page asks for what changed.
import { fetchFragment, refresher, replaceParts } from "cube/refresh";
import { connect } from "cube/socket";
import "cube/elapsed";

const page = document.querySelector("[data-job-page]");
const PARTS = ["job-head", "job-timeline", "job-pods", "job-pod-count", "job-log-empty"];
let shown = Number(page.dataset.version);
let wanted = shown;

const soon = refresher(async () => {
  const aim = wanted;
  const fresh = await fetchFragment(page.dataset.url);
  if (!fresh) return;
  replaceParts(PARTS, fresh);
  shown = aim;
}, 80);

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
