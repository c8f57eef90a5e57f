// Keeps parts of a page as fresh as their rows: told that something changed, the page asks for what it shows.
//   <div data-live-part="incidents" data-socket="/ws/…/"><div id="incidents">…</div></div>
import { fetchFragment, refresher, replaceParts } from "cube/refresh";
import { connect } from "cube/socket";
import "cube/elapsed";

const holder = document.querySelector("[data-live-part]");

const soon = refresher(async () => {
  const fresh = await fetchFragment(location.href);
  if (fresh) replaceParts(holder.dataset.livePart.split(" "), fresh);
}, 400);

connect(holder.dataset.socket, { onMessage: soon });  // the first one says that it has joined: what came before is fetched
