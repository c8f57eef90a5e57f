// Which pods are shown: a few as chips, many in a menu that can be searched.
import { element } from "cube/logs/rows";

const HUES = 8;
const MOST_CHIPS = 6;
const MOST_LISTED = 300;

export class Pods {
  /** part: the roles of the template; onChoose() when the choice changed. */
  constructor({ part, words, onChoose }) {
    Object.assign(this, { part, words, onChoose });
    this.streams = new Map();
    this.pods = new Map();  // name -> { name, label, hue, lines, isFailed, rank }
    this.muted = new Set();
    this.only = null;       // a Set: these and no later ones
    part.streams.addEventListener("click", ({ target }) => { const chip = target.closest("[data-pod]"); if (chip) this.#toggle(chip.dataset.pod); });
    part.podlist.addEventListener("click", ({ target }) => this.#picked(target));
    part.podsearch.addEventListener("input", () => this.#list());
    part.podall.addEventListener("click", () => { this.all(); this.#list(); });
    part.podmenu.addEventListener("toggle", () => { if (part.podmenu.open) { part.podsearch.value = ""; this.#list(); part.podsearch.focus(); } });
  }

  set(streams) {
    this.hasContainers = new Set(streams.map(({ container }) => container)).size > 1;
    this.pods = new Map();
    for (const stream of streams) {
      const pod = this.pods.get(stream.pod) ?? { name: stream.pod, rank: stream.rank ?? null, lines: 0, isFailed: false };
      pod.lines += stream.lines ?? 0;
      pod.isFailed ||= Boolean(stream.failed);
      pod.rank ??= stream.rank ?? null;
      this.pods.set(stream.pod, pod);
    }
    [...this.pods.values()].forEach((pod, index) => {
      pod.hue = (pod.rank ?? index) % HUES;
      pod.label = pod.rank !== null ? this.words.textRank.replace("{n}", pod.rank) : pod.name;
    });
    this.streams = new Map(streams.map((stream) => [stream.id, { ...stream, hue: this.pods.get(stream.pod).hue }]));
    this.draw();
  }

  get isMany() { return this.streams.size > 1; }

  /** What a row calls its stream. */
  nameOf(stream, id) {
    if (!stream) return `#${id}`;
    const { label } = this.pods.get(stream.pod);
    const isShort = stream.rank === null || stream.rank === undefined;
    const name = isShort && this.pods.size === 1 ? stream.container : label;
    const parts = [name];
    if (this.hasContainers && name !== stream.container) parts.push(stream.container);
    if (stream.restart) parts.push(this.words.textRestart.replace("{n}", stream.restart));
    return parts.join(" · ");
  }

  shows(pod) { return this.only ? this.only.has(pod) : !this.muted.has(pod); }
  wanted(line) { const stream = this.streams.get(line.s); return !stream || this.shows(stream.pod); }

  /** The names to ask the server for; null for all, those that are still to come included. */
  get filter() {
    if (!this.only && !this.muted.size) return null;
    return [...this.pods.keys()].filter((pod) => this.shows(pod));
  }

  all() { this.only = null; this.muted.clear(); this.draw(); this.onChoose(); }

  #toggle(pod) {
    if (this.only) { if (!this.only.delete(pod)) this.only.add(pod); }
    else if (!this.muted.delete(pod)) this.muted.add(pod);
    const shown = [...this.pods.keys()].filter((name) => this.shows(name)).length;
    if (this.only ? shown === this.pods.size || !shown : !shown) { this.only = null; this.muted.clear(); }  // None is no choice.
    this.draw();
    this.onChoose();
  }

  #picked(target) {
    const row = target.closest("[data-pod]");
    if (!row) return;
    if (!target.closest("[data-only]")) this.#toggle(row.dataset.pod);
    else { this.only = new Set([row.dataset.pod]); this.muted.clear(); this.draw(); this.onChoose(); }
    this.#list();
  }

  draw() {
    const { streams: chips, podmenu, podcount } = this.part;
    const pods = [...this.pods.values()];
    const hasChips = pods.length > 1 && pods.length <= MOST_CHIPS;
    podmenu.hidden = pods.length <= MOST_CHIPS;
    const shown = pods.filter(({ name }) => this.shows(name)).length;
    podcount.textContent = shown === pods.length ? this.words.textPods.replace("{n}", pods.length.toLocaleString())
      : this.words.textPodsOf.replace("{i}", shown.toLocaleString()).replace("{n}", pods.length.toLocaleString());
    podmenu.classList.toggle("in-force", shown !== pods.length);
    chips.replaceChildren(...(hasChips ? pods.map((pod) => this.#chip(pod)) : []));
  }

  #chip(pod) {
    const chip = element("button", `chip s${pod.hue}${pod.isFailed ? " failed" : ""}`, pod.label);
    chip.type = "button";
    chip.title = pod.isFailed ? `${pod.name}: ${this.words.textFailed}` : pod.name;
    chip.dataset.pod = pod.name;
    chip.setAttribute("aria-pressed", String(this.shows(pod.name)));
    return chip;
  }

  #list() {
    const asked = this.part.podsearch.value.trim().toLowerCase();
    const found = [...this.pods.values()].filter(({ name, label }) => `${label} ${name}`.toLowerCase().includes(asked));
    const rows = found.slice(0, MOST_LISTED).map((pod) => {
      const item = element("li", `s${pod.hue}${pod.isFailed ? " failed" : ""}`);
      item.dataset.pod = pod.name;
      const toggle = element("button", "podpick");
      toggle.type = "button";
      toggle.setAttribute("aria-pressed", String(this.shows(pod.name)));
      toggle.append(element("strong", "", pod.label));
      if (pod.label !== pod.name) toggle.append(element("small", "", pod.name));
      if (pod.isFailed) toggle.append(element("span", "logtag late", this.words.textFailed));
      const only = element("button", "podonly", this.words.textOnly);
      only.type = "button";
      only.dataset.only = "";
      item.append(toggle, only);
      return item;
    });
    if (found.length > rows.length) rows.push(element("li", "menu-empty", this.words.textNarrow.replace("{n}", (found.length - rows.length).toLocaleString())));
    if (!found.length) rows.push(element("li", "menu-empty", this.words.textNone));
    this.part.podlist.replaceChildren(...rows);
  }
}
