// A live run: its graph, table and chart, and the panel of one task. Pushes are thin: the page asks for what changed.
import { ReactFlowProvider, html, render } from "cube/vendor/flow";
import { fetchFragment, refresher, replaceParts } from "cube/refresh";
import { connect } from "cube/socket";
import "cube/elapsed";
import { read } from "cube/pipelines/page";
import { RunGraph } from "cube/pipelines/rungraph";
import { SidePanel } from "cube/pipelines/sidepanel";

const page = document.querySelector("[data-run-page]");
const PARTS = ["run-head", "run-table", "run-chart", "run-timeline"];
const AGAIN_WHILE_RUNNING_MS = 5000;  // bars grow with time, not only with pushes
const given = read("run-graph");
const panel = new SidePanel(document.getElementById("run-side"), given.task_url);
let state = read("run-state");
let wanted = state.version;

const root = document.getElementById("run-graph-root");
root.replaceChildren();

function draw() {
  render(html`<${ReactFlowProvider}><${RunGraph} graph=${given.graph} templates=${given.templates} states=${state.tasks} onOpen=${(key) => panel.open(key)} /><//>`, root);
}

const soon = refresher(async () => {
  const fresh = await fetchFragment(page.dataset.url);
  if (!fresh) return;
  replaceParts(PARTS, fresh);
  state = JSON.parse(fresh.getElementById("run-state").textContent);
  wanted = Math.max(wanted, state.version);
  draw();
  panel.follow(state.tasks);
}, 150);

let joinedBefore = false;
connect(page.dataset.socket, {
  onState(now) {
    if (now !== "connected") return;
    if (joinedBefore) soon();
    joinedBefore = true;
  },
  onMessage(message) {
    if (message.version !== undefined && message.version < wanted) return;
    soon();
  },
});

const isUnfinished = () => document.querySelector("#run-head[data-unfinished]");
setInterval(() => { if (!document.hidden && isUnfinished()) soon(); }, AGAIN_WHILE_RUNNING_MS);
page.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open-task]");
  if (!opener) return;
  event.preventDefault();
  panel.open(opener.dataset.openTask, opener.dataset.index);
});
panel.follow(state.tasks);
draw();
