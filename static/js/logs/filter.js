// The filter the server applies: text, containers, attempt, a span of time. What the fields hold counts once it is applied.
import { fieldValue, stampOf } from "cube/logs/stamps";
import { element } from "cube/logs/rows";

export class FilterBar {
  /** onApply() when what is in force has changed. */
  constructor({ part, words, onApply }) {
    Object.assign(this, { part, words, onApply, inForce: {} });
    const form = part.filterform;
    form.addEventListener("submit", (event) => { event.preventDefault(); this.#apply(); });
    form.addEventListener("reset", () => setTimeout(() => this.#apply()));
    form.addEventListener("change", ({ target }) => { if (target.type !== "search") this.#apply(); });
    part.filter.addEventListener("click", () => this.toggle());
    part.nofilter.addEventListener("click", () => this.clear());
    form.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); this.toggle(false); } });
  }

  get isActive() { return Object.keys(this.inForce).length > 0; }

  toggle(isOpen = this.part.filterform.hidden) {
    this.part.filterform.hidden = !isOpen;
    this.part.filter.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) this.part.filterform.elements.text.focus();
    else this.part.filter.focus();
  }

  clear() { this.part.filterform.reset(); }

  /** Only lines about this moment: a narrow span around it is mostly what is wanted. */
  setSpan(from, until) {
    const { since, until: to } = this.part.filterform.elements;
    since.value = from === null ? "" : fieldValue(from);
    to.value = until === null ? "" : fieldValue(until);
  }

  /** Choices come from the streams the job has. */
  setStreams(streams) {
    this.#options("container", [...new Set(streams.map(({ container }) => container))].sort(), (name) => name);
    this.#options("attempt", [...new Set(streams.map(({ attempt }) => attempt))].filter((n) => n !== undefined && n !== null).sort((a, b) => b - a),
      (number) => this.words.textAttempt.replace("{n}", number));
  }

  #options(name, values, label) {
    const select = this.part.filterform.elements[name];
    select.closest("label").hidden = values.length < 2;
    const now = [...select.options].slice(1).map(({ value }) => value);
    if (now.join("\n") === values.join("\n")) return;
    const chosen = select.value;
    select.replaceChildren(select.options[0], ...values.map((value) => Object.assign(element("option", "", label(value)), { value })));
    select.value = values.map(String).includes(chosen) ? chosen : "";
  }

  refuse(message) {
    const { filtererror, filterform } = this.part;
    filtererror.textContent = message;
    filtererror.hidden = !message;
    filterform.elements.text.setAttribute("aria-invalid", String(Boolean(message)));
  }

  #apply() {
    const { text, regex, case: isExact, container, attempt, since, until } = this.part.filterform.elements;
    const asked = {};
    if (text.value) Object.assign(asked, { text: text.value, regex: regex.checked, case: isExact.checked });
    if (container.value) asked.containers = [container.value];
    if (attempt.value) asked.attempt = Number(attempt.value);
    if (since.value) asked.since = stampOf(since.value);
    if (until.value) asked.until = stampOf(until.value);
    if (JSON.stringify(asked) === JSON.stringify(this.inForce)) return;
    this.refuse("");
    this.inForce = asked;
    this.part.filter.classList.toggle("in-force", this.isActive);
    this.onApply();
  }

  /** The same filter as query parameters of the REST log. */
  query(pods) {
    const { text, regex, case: isExact, containers, since, until } = this.inForce;
    const query = new URLSearchParams();
    if (text) query.set("text", text);
    if (text && regex) query.set("regex", "1");
    if (text && isExact) query.set("case", "1");
    if (containers) query.set("container", containers[0]);
    if (since) query.set("since", since);
    if (until) query.set("until", until);
    for (const pod of pods ?? []) query.append("pod", pod);
    return query;
  }
}
