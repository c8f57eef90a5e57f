// Keeps the lists of runs as fresh as their rows: told that something moved on, the page asks for what it shows.
import { fetchFragment, refresher, replaceParts } from "cube/refresh";
import { connect } from "cube/socket";
import "cube/elapsed";

const list = document.querySelector("[data-run-list]");
const part = list.dataset.runList;
let joinedBefore = false;

const soon = refresher(async () => {
  const fresh = await fetchFragment(location.href);
  if (fresh) replaceParts([part], fresh);
}, 400);

connect(list.dataset.socket, {
  onMessage({ type }) {
    if (type !== "project.joined" || joinedBefore) soon();
    joinedBefore = true;
  },
});
