// Live rows of the jobs list: a push names a job, the page fetches that row, and new jobs appear on top.
import { connect } from "cube/socket";
import "cube/elapsed";

const changed = new Set();
let pending;
let socket;

const list = () => document.querySelector("[data-joblist]");
const rowOf = (uid) => list().querySelector(`tr[data-uid="${CSS.escape(uid)}"]`);

async function refresh() {
  const here = list();
  const uids = [...changed].filter((uid) => rowOf(uid) || "liveNew" in here.dataset);
  changed.clear();
  if (!uids.length) return;
  const url = new URL(here.dataset.rowsUrl, location.href);
  uids.slice(0, 50).forEach((uid) => url.searchParams.append("uid", uid));
  const answer = await fetch(url, { headers: { "HX-Request": "true" } });
  if (!answer.ok) return;
  const body = here.querySelector("[data-rows]");
  if (!body) return location.reload();  // the first job of an empty list
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text();  // our own server's rendered rows, escaped there
  for (const fresh of [...holder.content.querySelectorAll("tr")].reverse()) {
    const old = rowOf(fresh.dataset.uid);
    if (old) {
      if (Number(old.dataset.version) > Number(fresh.dataset.version)) continue;
      const box = old.querySelector("input[name=uid]");
      if (box?.checked) fresh.querySelector("input[name=uid]").checked = true;
      old.replaceWith(fresh);
    } else {
      body.prepend(fresh);
    }
    document.body.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true, detail: { elt: fresh } }));
  }
}

function start() {
  socket?.();
  socket = connect(list().dataset.socket, {
    onMessage({ type, uid }) {
      if (type !== "job.status_changed") return;
      changed.add(uid);
      clearTimeout(pending);
      pending = setTimeout(refresh, 150);
    },
  });
}

if (list()) start();
