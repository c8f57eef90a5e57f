// Find: marks in the lines held come at once, from a worker; the next match beyond them comes from the server, which
// looks through the whole history.
import { read } from "cube/logs/rows";

const PAUSE_MS = 120;    // between keys
const TICK_MS = 200;     // between rounds over new lines
const PATIENCE_MS = 1500;
const SLICE_MS = 8;
const BATCH = 1000;
const NO_HITS = [];

export class Find {
  /**
   * held: the lines; onMarks(lines) when marks came or went; onJump(line, then) to show a line, held or not;
   * onSearch(question, then) asks the server: {text, regex, case, from: [stamp, s, n] | null, direction}.
   */
  constructor({ part, words, matcher, held, list, onMarks, onJump, onSearch, onWrapped, onLeave }) {
    Object.assign(this, { part, words, matcher, held, list, onMarks, onJump, onSearch, onWrapped, onLeave });
    this.number = 0;
    this.query = null;
    this.current = null;   // { line, index }
    this.#listen();
  }

  hitsOf(line) { return this.query && line.hitsFor === this.number ? line.hits : NO_HITS; }

  // ---- The query ----

  #listen() {
    const { find, next, previous, findregex, findcase } = this.part;
    find.addEventListener("input", () => { clearTimeout(this.typing); this.typing = setTimeout(() => this.#ask(), PAUSE_MS); });
    find.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); this.#ask(); this.step(event.shiftKey ? -1 : 1); }
      if (event.key === "Escape") { event.stopPropagation(); this.clear(); this.onLeave(); }
    });
    for (const toggle of [findregex, findcase]) {
      toggle.addEventListener("click", () => {
        toggle.setAttribute("aria-pressed", String(toggle.getAttribute("aria-pressed") !== "true"));
        this.#ask();
      });
    }
    next.addEventListener("click", () => this.step(1));
    previous.addEventListener("click", () => this.step(-1));
  }

  clear() { this.part.find.value = ""; this.#ask(); }

  #ask() {
    clearTimeout(this.typing);
    const text = this.part.find.value;
    const query = text ? { text, regex: isPressed(this.part.findregex), isCaseSensitive: isPressed(this.part.findcase) } : null;
    if (JSON.stringify(query) === JSON.stringify(this.query)) return;
    this.query = query;
    this.number++;
    this.current = null;
    this.isSettled = false;
    this.isMissing = false;
    this.refused = undefined;  // what the server said of this query stands until there is another
    this.#stop();
    this.tell("");
    this.onMarks();
    this.look();
  }

  // ---- Marks ----

  /** Look through lines that were not looked at yet. */
  look() { if (this.query) this.timer ??= setTimeout(() => { this.timer = null; this.#round(); }, this.isSettled ? TICK_MS : 0); }

  #round() {
    if (!this.query || this.pending) return;
    const begun = performance.now();
    const lines = [];
    for (const line of this.#unseen()) {
      read(line);
      lines.push(line);
      if (lines.length === BATCH || performance.now() - begun > SLICE_MS) break;
    }
    if (!lines.length) { this.#settle(); return; }
    this.pending = { lines, number: this.number };
    this.patience = setTimeout(() => this.#stop(), PATIENCE_MS);
    this.#worker().postMessage({ id: this.number, texts: lines.map((line) => line.look.text) });
  }

  /** What is in view first. */
  * #unseen() {
    const isNew = (line) => line.hitsFor !== this.number && line.k !== "gap";
    for (const line of this.list.linesInView) if (isNew(line)) yield line;
    for (const line of this.held.lines) if (isNew(line) && line.at >= 0) yield line;
  }

  #worker() {
    if (this.worker && this.workerFor === this.number) return this.worker;
    if (!this.worker) {
      this.worker = new Worker(this.matcher);
      this.worker.addEventListener("message", ({ data }) => this.#marked(data));
    }
    this.workerFor = this.number;
    this.worker.postMessage({ query: this.query });
    return this.worker;
  }

  #marked({ id, hits }) {
    if (id !== this.pending?.number) return;
    clearTimeout(this.patience);
    const { lines } = this.pending;
    this.pending = null;
    if (id !== this.number) { this.look(); return; }
    lines.forEach((line, index) => { line.hits = hits[index]; line.hitsFor = id; });
    this.onMarks(lines.filter(({ hits: some }) => some.length));
    this.count();
    this.look();
  }

  /** A pattern that takes too long is not waited for: the server still finds, nothing is marked here. */
  #stop() {
    clearTimeout(this.patience);
    if (!this.pending) return;
    this.worker.terminate();
    this.worker = this.pending = null;
  }

  /** Everything held was looked at: the first match at or below the top of the view is the current one. */
  #settle() {
    this.count();
    if (this.isSettled) return;
    this.isSettled = true;
    if (this.current) return;
    const found = this.#near(this.list.topLine?.at ?? 0);
    if (found) this.#go(found);
  }

  #near(at) {
    const matches = this.#matches();
    return matches.find(({ line }) => line.at >= at) ?? matches.at(-1);
  }

  #matches() {
    const matches = [];
    for (const { line } of this.list.entries) this.hitsOf(line).forEach((_, index) => matches.push({ line, index }));
    return matches;
  }

  count() {
    if (!this.query || this.isBusy) return;
    const matches = this.#matches();
    const at = this.current ? matches.findIndex(({ line, index }) => line === this.current.line && index === this.current.index) : -1;
    this.part.previous.disabled = this.part.next.disabled = false;
    if (matches.length) this.tell((at < 0 ? this.words.textMatches : this.words.textFound).replace("{i}", (at + 1).toLocaleString()).replace("{n}", matches.length.toLocaleString()));
    else this.tell(this.refused || (this.isMissing ? this.words.textNone : this.words.textNoneHere));
  }

  tell(words) {
    this.part.found.textContent = words;
    if (!this.query) this.part.previous.disabled = this.part.next.disabled = true;
  }

  // ---- Steps ----

  step(direction) {
    if (!this.query) return;
    const matches = this.#matches();
    const { current } = this;
    const at = current ? matches.findIndex(({ line, index }) => line === current.line && index === current.index) : -1;
    const next = at < 0 ? null : matches[at + direction];
    if (next) this.#go(next);
    else if (at < 0 && !current && matches.length) this.#go(this.#near(this.list.topLine?.at ?? 0));
    else this.#search(direction);
  }

  #search(direction) {
    const from = this.current?.line ?? this.list.topLine;
    this.isBusy = true;
    this.tell(this.words.textSearching);
    const { text, regex, isCaseSensitive } = this.query;
    this.onSearch({ text, regex, case: isCaseSensitive, from: from ? [from.t, from.s, from.n] : null, direction }, (answer) => this.#found(answer, direction));
  }

  /** answer: {line, wrapped} of the server, or {refused}. */
  #found({ line, wrapped, refused }, direction) {
    this.isBusy = false;
    this.refused = refused;
    if (refused) { this.tell(refused); return; }
    this.isMissing = !line;
    if (!line) { this.count(); return; }
    this.onJump(line, (held) => {
      this.current = { line: held, index: direction < 0 ? Math.max(0, this.hitsOf(held).length - 1) : 0 };
      this.onMarks([held]);
      this.count();
      this.look();
    });
    if (wrapped) this.onWrapped();
  }

  #go(match) {
    const before = this.current?.line;
    this.current = match;
    this.onMarks([match.line, ...(before ? [before] : [])]);
    this.onJump(match.line, () => this.count());
  }
}

const isPressed = (button) => button.getAttribute("aria-pressed") === "true";
