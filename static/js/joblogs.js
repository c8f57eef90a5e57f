// The live log of a job page: a viewer, and the socket it listens to.
import { LogView } from "cube/logs/view";
import { connect } from "cube/socket";

export function mount(element) {
  let connection = null;
  const view = new LogView(element.querySelector("[data-logview]"), (message) => connection?.send(message) ?? false);
  view.openAddress();
  connection = connect(element.dataset.socket, {
    onMessage: (message) => view.feed.receive(message),
    onState(state) {
      view.setState(state);
      if (state === "connected") view.feed.connected();
    },
    resume: () => view.feed.query,
  });
  // The page was told that the job has moved on, and brought new words for an empty log.
  document.body.addEventListener("htmx:load", ({ detail }) => {
    if (element.contains(detail.elt)) view.setState(view.status.state ?? "connecting");
  });
  view.close = () => connection();
  return view;
}

document.querySelectorAll("[data-job-log]").forEach(mount);
