// Keeps a part of a page as fresh as its rows: told that something changed, the page asks for what it shows.
//   <div data-live-part="incidents" data-socket="/ws/…/"><div id="incidents">…</div></div>
import { fetchFragment, refresher, replaceParts } from "cube/refresh";
import { connect } from "cube/socket";
import "cube/elapsed";

const holder = document.querySelector("[data-live-part]");
const id = holder.dataset.livePart;
let isOld = false;

/** Whoever is in a link, a menu or a note of it keeps their place: what they are about to press must not move. */
function isBusy() {
  const part = document.getElementById(id);
  return document.querySelector("dialog[open]") || part.querySelector("details[open]") || part.contains(document.activeElement);
}

const soon = refresher(async () => {
  isOld = true;
  if (isBusy()) return;
  const fresh = await fetchFragment(location.href);
  if (!fresh || isBusy()) return;
  replaceParts([id], fresh);
  isOld = false;
}, 400);

const makeUpFor = () => isOld && soon();
holder.addEventListener("focusout", makeUpFor);
holder.addEventListener("toggle", makeUpFor, { capture: true });  // it does not bubble

connect(holder.dataset.socket, { onMessage: soon });  // the first one says that it has joined: what came before is fetched
