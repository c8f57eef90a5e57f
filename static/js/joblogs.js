// The live log of a job page: the socket's lines into the log view, and the view's wishes to the socket.
//
// Every line has a stream and an ordinal, so nothing is shown twice and a returning socket says exactly where it was.
import { LogView } from "cube/logview";
import { connect } from "cube/socket";

const OLDER = 500;

export function mount(element) {
  const next = new Map();  // stream -> the ordinal after the last one received
  let ended = false, awaited = 0, atStart = false;

  const view = new LogView(element.querySelector("[data-logview]"), {
    onOlder() {
      if (awaited || atStart || !view.lines.length) return;
      if (connection.send({ type: "before", cursors: Object.fromEntries(firstShown()), count: OLDER })) awaited = OLDER;
    },
    onLatest() { connection.send({ type: "latest" }); },
  });

  /** stream -> the first ordinal in the view; a stream that scrolled out of it lies before the view as a whole. */
  function firstShown() {
    const first = new Map(next);
    for (const { s, n } of view.lines) if (n < (first.get(s) ?? Infinity)) first.set(s, n);
    return first;
  }

  const on = {
    streams({ streams }) { view.setStreams(streams); },
    lines({ lines }) {
      const fresh = lines.filter(({ s, n }) => n >= (next.get(s) ?? 0));
      for (const { s, n } of fresh) next.set(s, n + 1);
      view.append(fresh);
    },
    older({ lines, more }) {
      awaited = more ? Math.max(0, awaited - lines.length) : 0;
      atStart = !more;
      view.prepend(lines);
    },
    reset() { next.clear(); awaited = 0; atStart = false; view.reset(); },
    lag({ behind }) { element.dataset.behind = behind; },
    end() { ended = true; view.setState("closed"); },
  };

  const connection = connect(element.dataset.socket, {
    onMessage(message) { on[message.type]?.(message); },
    onState(state) {
      view.setState(ended && state === "connected" ? "closed" : state);
      awaited = 0;
      if (state === "connected" && next.size) connection.send({ type: "resume", cursors: Object.fromEntries(next) });
    },
    resume: () => (next.size ? { resume: 1 } : {}),
  });
  return view;
}

document.querySelectorAll("[data-job-log]").forEach(mount);
