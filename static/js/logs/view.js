// The log viewer: puts its parts together, and keeps what the reader chose. The static markup and every word the reader
// sees are in templates/components/logview.html; what comes and goes over the socket is in feed.js.
import { FilterBar } from "cube/logs/filter";
import { Find } from "cube/logs/find";
import { Feed } from "cube/logs/feed";
import { Held } from "cube/logs/held";
import { List } from "cube/logs/list";
import { panel } from "cube/logs/panel";
import { Picks, linesIn, textOf, toClipboard } from "cube/logs/picks";
import { Pods } from "cube/logs/pods";
import { Rows, read } from "cube/logs/rows";
import { listen as listenToCopy } from "cube/logs/selection";
import { listen as listenToKeys } from "cube/logs/shortcuts";
import { MODES, millisecondsOf } from "cube/logs/stamps";
import { Status } from "cube/logs/status";
import { listen as listenToTools } from "cube/logs/tools";
import { entriesOf } from "cube/logs/entries";

const KEPT = "cube-log-view";  // in the browser: wrapping, times, collapsing

export class LogView {
  /** element: the section of the template; send(message) answers whether there was a connection. */
  constructor(element, send) {
    this.element = element;
    this.part = Object.fromEntries([...element.querySelectorAll("[data-role]")].map((part) => [part.dataset.role, part]));
    this.words = element.dataset;
    this.kept = { wrap: false, times: "off", collapse: true, ...recalled() };
    this.held = new Held();
    this.status = new Status(this);
    this.pods = new Pods({ part: this.part, words: this.words, onChoose: () => this.refilter() });
    this.filterbar = new FilterBar({ part: this.part, words: this.words, onApply: () => this.refilter() });
    this.list = new List(this.part, {
      build: (entry) => this.rows.build(entry),
      collect: () => this.#collect(),
      onEdge: (side) => this.#edge(side),
      onFollow: (isFollowing) => this.#followed(isFollowing),
      onDraw: () => this.#drawn(),
    });
    this.picks = new Picks({ held: this.held, list: this.list, onChange: () => { this.list.forget(); this.status.drawPicks(); } });
    this.find = this.#makeFind();
    this.rows = new Rows(this);
    this.feed = new Feed(this, send);
    this.#listen();
    this.#drawChoices();
  }

  // ---- What rows ask ----

  get streams() { return this.pods.streams; }
  get isMany() { return this.pods.isMany; }
  get times() { return this.kept.times; }
  get lastTime() { return millisecondsOf(this.held.lines.at(-1)?.t) || Date.now(); }

  /** When the job began, in milliseconds: told by the page, else the first line seen. */
  startOf() {
    this.start ??= Date.parse(this.element.dataset.start ?? "") || millisecondsOf(this.held.lines[0]?.t);
    return this.start;
  }

  /** A drawing of the icon sheet. */
  icon(name) {
    const sheet = this.element.querySelector("use").getAttribute("href").replace(/#.*/, "");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "i");
    svg.setAttribute("aria-hidden", "true");
    svg.append(document.createElementNS("http://www.w3.org/2000/svg", "use"));
    svg.firstChild.setAttribute("href", `${sheet}#${name}`);
    return svg;
  }

  // ---- What the feed tells ----

  setStreams(streams) {
    const before = this.isMany;
    const asked = JSON.stringify(this.pods.filter);
    this.pods.set(streams);
    this.filterbar.setStreams(streams);
    this.part.collapse.closest("li").hidden = !this.isMany;
    if (before !== this.isMany) this.list.relayout();
    this.list.forget();
    this.changed();
    if (this.pods.muted.size && asked !== JSON.stringify(this.pods.filter)) this.refilter();
  }

  /** Lines came or went, or with `false` only the count of those that wait. */
  changed(isOther = true) {
    if (isOther) { this.list.change(); this.find.look(); }
    else this.status.drawPill();
  }

  setState(state) { this.status.set(state); }
  notice(kind, value) { this.status.notice(kind, value); }
  rate(lines) { this.status.rate(lines); }

  wait(isWaiting) {
    this.isWaiting = isWaiting;
    this.part.body.setAttribute("aria-busy", String(isWaiting));
    this.element.classList.toggle("waiting", isWaiting);
  }

  refuse(message) {
    this.filterbar.inForce = this.applied ?? {};
    this.filterbar.refuse(message);
    this.filterbar.toggle(true);
  }

  /** A window that was asked for has come; `focus` is the line it is about. */
  arrived({ at, then, isQuiet, delta }, focus) {
    this.applied = this.filterbar.inForce;
    if (at.tail) this.list.follow = true;
    if (at.head) this.list.toTop();
    const line = this.#target(at, focus);
    if (line) this.list.reveal(line, isQuiet ? delta : undefined);
    if (line && !isQuiet) this.#flash(line);
    if (!line && at.error) this.notice("noError", true);
    if (!line && at.line && !isQuiet) this.notice("noLine", true);
    then?.(line);
  }

  #target(at, focus) {
    this.list.collectNow();
    const [s, n] = focus ?? at.line ?? [];
    if (s !== undefined) return this.held.get(s, n);
    return at.time ? this.held.lines.find(({ t }) => t >= at.time) ?? this.held.lines.at(-1) : undefined;
  }

  #flash(line) {
    this.flashed = line.key;
    this.list.forget();
    clearTimeout(this.flashing);
    this.flashing = setTimeout(() => { this.flashed = null; this.list.forget(); }, 2500);
  }

  // ---- Where the reader is, and goes ----

  get filter() {
    const pods = this.pods.filter;
    return { ...this.filterbar.inForce, ...(pods ? { pods } : {}) };
  }

  /** The place to come back to: the end, or the line at the top of the view. */
  get place() {
    const line = this.list.topLine;
    return this.list.follow || !line ? { tail: true } : { line: [line.s, line.n] };
  }

  refilter() {
    const line = this.list.topLine;
    this.changed();
    this.feed.show(this.list.follow || !line ? { tail: true } : { time: line.t }, null, true);
  }

  toTail() {
    if (!this.feed.atEnd) { this.feed.latest(); return; }
    this.list.follow = true;
    this.part.body.focus({ preventScroll: true });
  }

  toHead() {
    if (this.feed.atStart) this.list.toTop();
    else this.feed.show({ head: true });
  }

  toTime(time) { this.feed.show({ time }); }
  firstError() { this.feed.show({ error: true }); }
  toggleFollow() { if (this.list.follow) this.list.follow = false; else this.toTail(); }

  /** Open what the address names, if it names lines. */
  openAddress() {
    const ends = linesIn(location.hash);
    if (!ends) return;
    this.picks.set(ends);
    this.feed.show({ line: ends[0] });
  }

  jumpTo(line, then) {
    const held = this.held.get(line.s, line.n);
    const arrive = (found) => { if (found) then(found); };
    if (!held || held.at < 0) { this.feed.show({ line: [line.s, line.n] }, arrive); return; }
    this.list.reveal(held);
    arrive(held);
  }

  #edge(side) {
    this.feed.edge(side === "top" ? "top" : "bottom");
    if (side === "end" && this.feed.atEnd && !this.feed.wish) this.list.follow = true;
  }

  #followed(isFollowing) {
    if (isFollowing) this.feed.unseen = 0;
    this.part.follow.setAttribute("aria-pressed", String(isFollowing));
    this.status.drawPill();
  }

  // ---- Drawing ----

  #collect() {
    const { pods } = this;
    const podOf = (line) => pods.streams.get(line.s)?.pod ?? line.s;
    return entriesOf(this.held.lines, {
      wanted: (line) => pods.wanted(line),
      podOf: this.kept.collapse && pods.pods.size > 1 ? podOf : null,
    });
  }

  #drawn() {
    this.status.draw();
    if (this.held.lines.length && !this.list.isTall) { this.feed.edge("top"); this.feed.edge("bottom"); }
  }

  #makeFind() {
    return new Find({
      part: this.part, words: this.words, matcher: this.element.dataset.matcher, held: this.held, list: this.list,
      onMarks: (lines) => { if (lines) lines.forEach((line) => line.entry && this.list.forget(line.entry)); else this.list.forget(); },
      onJump: (line, then) => this.jumpTo(line, then),
      onSearch: (question, then) => this.feed.find(question, then),
      onWrapped: () => this.notice("wrapped", true),
      onLeave: () => this.part.body.focus({ preventScroll: true }),
    });
  }

  // ---- Choices that are kept ----

  setWrap(isWrapped) { this.#keep({ wrap: isWrapped }); }
  nextTimes() { this.#keep({ times: MODES[(MODES.indexOf(this.times) + 1) % MODES.length] }); }
  toggleCollapse() { this.#keep({ collapse: !this.kept.collapse }); }

  #keep(choice) {
    Object.assign(this.kept, choice);
    try { localStorage.setItem(KEPT, JSON.stringify(this.kept)); } catch { /* A browser may forbid it; then it is kept for this page. */ }
    this.#drawChoices();
  }

  #drawChoices() {
    const { wrap, times, collapse } = this.kept;
    this.list.wrapped = wrap;
    this.element.classList.toggle("wrap", wrap);
    this.element.dataset.times = times;
    this.part.wrap.setAttribute("aria-pressed", String(wrap));
    this.part.times.setAttribute("aria-pressed", String(times !== "off"));
    this.part.collapse.setAttribute("aria-pressed", String(collapse));
    const mode = this.words[`textTimes${times[0].toUpperCase()}${times.slice(1)}`];
    this.part.times.title = this.words.textTimes.replace("{mode}", mode);
    this.part.times.setAttribute("aria-label", this.part.times.title);
    this.list.forget();
    this.list.relayout();
  }

  get isFull() { return document.fullscreenElement === this.element || this.element.classList.contains("full"); }

  toggleFull() {
    if (document.fullscreenElement === this.element) document.exitFullscreen();
    else if (this.element.requestFullscreen && !this.isFull) this.element.requestFullscreen().catch(() => this.#fillPage(true));
    else this.#fillPage(!this.isFull);
  }

  /** Where a browser allows no full screen, the page is filled. */
  #fillPage(isFull) { this.element.classList.toggle("full", isFull); this.drawFull(); }

  drawFull() { this.part.full.setAttribute("aria-pressed", String(this.isFull)); this.list.relayout(); }

  escape() {
    if (!this.picks.isEmpty) this.picks.clear();
    else if (this.element.classList.contains("full")) this.#fillPage(false);
    else if (this.find.query) this.find.clear();
  }

  // ---- Copying ----

  /** The text selected, the lines chosen, or else every line held. */
  async copy({ withStamps = false } = {}) {
    const selected = String(getSelection());
    const lines = this.picks.isEmpty ? this.held.lines.filter(({ at }) => at >= 0) : this.picks.lines;
    lines.forEach(read);
    const nameOf = this.isMany ? (line) => this.pods.nameOf(this.streams.get(line.s), line.s) : null;
    const isPart = selected && !withStamps && this.part.rows.contains(getSelection().anchorNode);
    const isTaken = await toClipboard(isPart ? selected : textOf(lines, { withStamps, nameOf }), this.element);
    if (isTaken) this.notice("copied", isPart ? 0 : lines.length);
  }

  async copyLink() {
    if (await toClipboard(location.href, this.element)) this.notice("copiedLink", true);
  }

  selectAll() { this.selection.all(); }

  // ---- Clicks in rows ----

  #listen() {
    this.part.rows.addEventListener("click", (event) => this.#clicked(event));
    this.selection = listenToCopy(this);
    listenToTools(this);
    listenToKeys(this);
    addEventListener("hashchange", () => this.openAddress());
  }

  #clicked(event) {
    const { target } = event;
    const line = this.held.byKey.get(target.closest("[data-key]")?.dataset.key);
    if (!line) return;
    if (target.closest(".n")) {
      if (event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      if (event.shiftKey) getSelection().removeAllRanges();
      this.picks.pick(line, { isRange: event.shiftKey });
      this.part.body.focus({ preventScroll: true });
      return;
    }
    const act = target.closest("[data-act]")?.dataset.act;
    if (act === "spread") { line.spread = !line.spread; this.#redraw(line); }
    if (act === "more" || act === "fold") this.#open(line, act);
  }

  #redraw(line) {
    this.list.follow = false;
    this.list.forget(line.entry);
    this.changed();
  }

  #open(line, name) {
    const isClosing = line.panel?.name === name;
    line.panel = null;
    if (!isClosing) {
      const isLong = name === "more";
      line.panel = panel(line, name, {
        words: this.words,
        title: (isLong ? this.words.textWhole : this.words.textAllStates).replace("{n}", (line.n + 1).toLocaleString()),
        act: (act) => this.#actOn(line, act),
      });
      const fill = (text) => { line.panel?.fill(isLong ? text : text.replace(/\r+/g, "\n")); this.changed(); };
      if (line.x) this.feed.whole(line, fill);
      else fill(line.m);
    }
    this.#redraw(line);
  }

  async #actOn(line, act) {
    if (act === "copy") { if (await toClipboard(line.panel.text ?? "", this.element)) this.notice("copied", 1); return; }
    this.#open(line, line.panel.name);
  }
}

function recalled() {
  try { return JSON.parse(localStorage.getItem(KEPT) ?? "{}"); } catch { return {}; }
}
