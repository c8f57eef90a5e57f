// The page of a schedule, kept up to date: a push says that something changed, the page fetches its moving parts.
import { fetchFragment, refresher, replaceParts } from "cube/refresh";
import { connect } from "cube/socket";

const page = document.querySelector("[data-schedule-page]");
let missed = false;

const soon = refresher(async () => {
  const fresh = await fetchFragment(location.href);
  if (fresh) replaceParts([...page.querySelectorAll("[id^=schedule-]")].map(({ id }) => id), fresh);
}, 400);

connect(page.dataset.socket, {
  onMessage({ type }) {
    if (type === "schedule.changed" || (type === "schedule.joined" && missed)) soon();
  },
  onState(state) {
    if (state === "reconnecting") missed = true;
  },
});
