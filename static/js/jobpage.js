// Keeps the head, timeline and pods of a job page as fresh as its rows. Pushes are thin: the page asks for what changed.
import { fetchFragment, refresher, replaceParts } from "cube/refresh";
import { connect } from "cube/socket";
import "cube/elapsed";
import { mount as mountUsage } from "cube/usage";

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

const usage = mountUsage(page.querySelector("[data-usage]"));
let joinedBefore = false;
connect(page.dataset.socket, {
  onState(state) {
    if (state !== "connected") return;
    if (joinedBefore) {  // pods may have changed while nobody told us
      soon();
      usage.look();
    }
    joinedBefore = true;
  },
  onMessage(message) {
    usage.look();
    if (message.type === "job.usage_sampled") return;
    if (message.type === "job.status_changed") {
      if (message.version <= shown) return;
      wanted = Math.max(wanted, message.version);
    }
    soon();
  },
});
