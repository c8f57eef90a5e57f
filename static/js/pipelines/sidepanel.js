// The panel of one task of a run: drawn by the server, fetched anew when the task moved on. Log and usage are the job page's.
import { mount as mountLog } from "cube/joblogs";
import { fetchFragment } from "cube/refresh";
import { mount as mountUsage } from "cube/usage";

// What lives on in the panel while it shows the same job: `of` is the address that tells which.
const ISLANDS = [
  { selector: "[data-job-log]", of: "socket", mount: mountLog },
  { selector: "[data-usage]", of: "url", mount: mountUsage },
];

export class SidePanel {
  constructor(element, url) {
    Object.assign(this, { element, url, shown: null, said: "", islands: {}, turn: 0, cameFrom: null, isOld: false });
    const makeUpFor = () => this.shown && this.isOld && this.#refresh();
    element.addEventListener("toggle", makeUpFor, { capture: true });  // neither event bubbles
    document.addEventListener("close", makeUpFor, { capture: true });
    element.addEventListener("click", (event) => event.target.closest("[data-panel-close]") && this.close());
    element.addEventListener("keydown", (event) => event.key === "Escape" && !event.target.closest("input, [data-logview]") && this.close());
    addEventListener("hashchange", () => this.#fromAddress());
    this.#fromAddress();
  }

  #fromAddress() {
    const found = /^#task=([a-z0-9_]+)(?:\.(\d+))?$/.exec(location.hash);
    if (found) this.open(found[1], found[2]);
  }

  async open(key, index = undefined) {
    this.cameFrom = this.element.hidden ? document.activeElement : this.cameFrom;
    this.shown = { key, index };
    history.replaceState(null, "", `#task=${key}${index === undefined ? "" : `.${index}`}`);
    this.element.hidden = false;
    await this.#fetch();
    this.element.querySelector("h2")?.focus();
  }

  close() {
    this.turn += 1;
    this.#end(ISLANDS);
    this.shown = null;
    this.element.hidden = true;
    this.element.replaceChildren();
    history.replaceState(null, "", location.pathname + location.search);
    this.cameFrom?.focus?.();
  }

  /** The run moved on: look again when this task did. */
  follow(states) {
    const said = JSON.stringify(states[this.shown?.key] ?? null);
    const isNews = this.said && said !== this.said;
    this.said = said;
    if (this.shown && isNews) this.#refresh();
  }

  /** Not while somebody chooses in a menu or is asked: a list drawn anew has forgotten what they chose, and a form that
   * waits for a yes would be gone. */
  #refresh() {
    this.isOld = Boolean(this.element.querySelector("[data-menu][open]") || document.querySelector("dialog[open]"));
    if (!this.isOld) this.#fetch();
  }

  async #fetch() {
    const mine = (this.turn += 1);
    const url = new URL(this.url, location.href);
    url.searchParams.set("key", this.shown.key);
    if (this.shown.index !== undefined) url.searchParams.set("index", this.shown.index);
    const fresh = await fetchFragment(url);
    if (fresh && mine === this.turn) this.#draw(fresh);
  }

  /** What is being read stays: log and usage of the same job are not opened again. */
  #draw(fresh) {
    const kept = ISLANDS.filter(({ selector, of }) => {
      const [before, after] = [this.element.querySelector(selector), fresh.querySelector(selector)];
      const isSame = before && after && before.dataset[of] === after.dataset[of];
      if (isSame) after.replaceWith(before);
      return isSame;
    });
    const open = this.element.querySelector("details[open]")?.dataset.name;
    this.#end(ISLANDS.filter((island) => !kept.includes(island)));
    this.element.replaceChildren(...document.adoptNode(fresh.body).childNodes);
    const again = open && this.element.querySelector(`details[data-name="${CSS.escape(open)}"]`);
    if (again) again.open = true;
    const event = new CustomEvent("htmx:load", { bubbles: true, detail: { elt: this.element } });
    document.body.dispatchEvent(event);
    globalThis.htmx?.process(this.element);
    for (const { selector, mount } of ISLANDS) {
      const found = this.element.querySelector(selector);
      if (found) this.islands[selector] ??= mount(found);
    }
  }

  #end(islands) {
    for (const { selector } of islands) {
      this.islands[selector]?.close();
      delete this.islands[selector];
    }
  }
}
