// Live rows of the jobs list: a push names a job, the page fetches that row, and new jobs appear on top.
import { connect } from "cube/socket";
import "cube/elapsed";

const AT_ONCE = 50;  // rows the server gives in one answer
const changed = new Set();
let pending;
let socket;

const list = () => document.querySelector("[data-joblist]");
const rowOf = (uid) => list().querySelector(`tr[data-uid="${CSS.escape(uid)}"]`);

function soon() {
  clearTimeout(pending);
  pending = setTimeout(refresh, 150);
}

async function refresh() {
  const here = list();
  const uids = [...changed].filter((uid) => rowOf(uid) || "liveNew" in here.dataset);
  changed.clear();
  if (!uids.length) return;
  const url = new URL(here.dataset.rowsUrl, location.href);
  uids.splice(0, AT_ONCE).forEach((uid) => url.searchParams.append("uid", uid));
  if (uids.length) {
    uids.forEach((uid) => changed.add(uid));
    soon();
  }
  await take(url);
}

/** What changed before this page was joined to the pushes, or while the connection was away. */
async function catchUp() {
  await take(location.href, { whole: true });
}

async function take(url, { whole = false } = {}) {
  const answer = await fetch(url, { headers: { "HX-Request": "true" }, cache: "no-store" });
  if (!answer.ok) return;
  tally(answer.headers.get("Cube-Job-Counts"));
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text();  // our own server's rendered rows, escaped there
  merge([...holder.content.querySelectorAll("tr[data-uid]")], whole);
}

/** Jobs per status on the chips. A status that no job has is shown only while it is chosen. */
function tally(counts) {
  for (const [status, count] of Object.entries(JSON.parse(counts ?? "{}"))) {
    const shown = document.querySelector(`[data-count="${CSS.escape(status)}"]`);
    if (!shown) continue;
    shown.textContent = count;
    const chip = shown.closest("label");
    chip.hidden = !count && !chip.querySelector("input").checked;
  }
}

/** `whole`: the rows are a page in its order, so each belongs before the one that follows it there. */
function merge(rows, whole) {
  const here = list();
  const body = here.querySelector("[data-rows]");
  if (!body) return rows.length && location.reload();  // the first job of an empty list
  let next = null;
  for (const fresh of rows.reverse()) {
    const old = rowOf(fresh.dataset.uid);
    if (old && Number(old.dataset.version) >= Number(fresh.dataset.version)) {
      next = old;
      continue;
    }
    if (old) {
      const box = old.querySelector("input[name=uid]");
      if (box?.checked) fresh.querySelector("input[name=uid]").checked = true;
      old.replaceWith(fresh);
    } else if ("liveNew" in here.dataset) {
      body.insertBefore(fresh, whole ? next : body.firstChild);
    } else {
      continue;
    }
    next = fresh;
    document.body.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true, detail: { elt: fresh } }));
  }
}

function start() {
  socket?.();
  socket = connect(list().dataset.socket, {
    onMessage({ type, uid }) {
      if (type === "project.joined") catchUp();
      if (type !== "job.status_changed") return;
      changed.add(uid);
      soon();
    },
  });
}

if (list()) start();
