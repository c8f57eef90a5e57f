// What a job uses: a fragment of the server's, fetched when it is opened and anew at each sample. The pointer reads the curves.
// <div data-usage data-url="…">, with data-socket="/ws/jobs/<uid>/" where the page has no socket of the job itself.
import { words } from "cube/elapsed";
import { fetchFragment, refresher } from "cube/refresh";
import { connect } from "cube/socket";

const WAIT_MS = 80;

export function mount(element) {
  const isShown = () => element.isConnected && !element.closest("[hidden]") && !document.hidden;
  const soon = refresher(async () => {
    const fresh = await fetchFragment(element.dataset.url);
    if (fresh) element.replaceChildren(...document.adoptNode(fresh.body).childNodes);
    document.body.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true, detail: { elt: element } }));
  }, WAIT_MS);
  const look = () => { if (isShown()) soon(); };
  element.closest("[role=tabpanel], section")?.addEventListener("cube:shown", look);
  document.addEventListener("visibilitychange", look);
  const close = element.dataset.socket ? connect(element.dataset.socket, { onMessage: look }) : () => {};
  if (!element.closest("[data-tabs]")) look();  // a tab tells when it is opened
  return { look, close: () => { close(); document.removeEventListener("visibilitychange", look); } };
}

// ---- Reading a curve: one listener for all charts, which come and go ----
const WIDTH = 1000;
const HEIGHT = 100;
const short = (number) => (number >= 100 ? number.toFixed(0) : String(Number(number.toPrecision(3))));

/** As the server's `amount` filter writes it. */
export function amount(number, unit) {
  if (unit === "cores") return short(number / 1000) === "1" ? "1 core" : `${short(number / 1000)} cores`;
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  while (number >= 1023.5 && power < names.length - 1) [number, power] = [number / 1024, power + 1];
  return `${short(number)} ${names[power]}`;
}

function nearest(curve, x) {
  const points = [...curve.querySelectorAll("polyline")].flatMap((line) => [...line.points]);
  return points.reduce((best, point) => (Math.abs(point.x - x) < Math.abs(best.x - x) ? point : best), points[0]);
}

const line = (text) => Object.assign(document.createElement("span"), { textContent: text });

function read(plot, clientX) {
  const box = plot.getBoundingClientRect();
  const { unit, top, seconds } = plot.dataset;
  const at = ((clientX - box.left) / box.width) * WIDTH;
  const found = [...plot.querySelectorAll(".usage-curve")].map((curve) => [curve.dataset.name.trim(), nearest(curve, at)]);
  const { x } = found[0][1];
  const hair = plot.querySelector(".usage-hair");
  hair.setAttribute("x1", x);
  hair.setAttribute("x2", x);
  hair.setAttribute("visibility", "visible");
  const tip = plot.parentElement.querySelector("output");
  const told = found.map(([name, point]) => line(`${name} ${amount((1 - point.y / HEIGHT) * top, unit)}`.trim()));
  tip.replaceChildren(line(words(Math.round((x / WIDTH) * seconds))), ...told);
  tip.hidden = false;
  tip.style.top = `${plot.parentElement.querySelector("figcaption").offsetHeight}px`;
  // On the side where there is room, so that the hair and what comes after it stay free.
  tip.style[x < WIDTH / 2 ? "left" : "right"] = `${x < WIDTH / 2 ? x / 10 : 100 - x / 10}%`;
  tip.style[x < WIDTH / 2 ? "right" : "left"] = "auto";
}

function forget(plot) {
  plot.querySelector(".usage-hair").setAttribute("visibility", "hidden");
  plot.parentElement.querySelector("output").hidden = true;
}

document.addEventListener("pointermove", ({ target, clientX }) => {
  const plot = target.closest?.("[data-usage-plot]");
  document.querySelectorAll("[data-usage-plot]").forEach((each) => (each === plot ? read(each, clientX) : forget(each)));
});
