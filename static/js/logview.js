// The live log: a virtual list that keeps at most 5,000 lines and draws only those on screen.
//
//   const view = new LogView(document.querySelector("[data-logview]"), { onSelect, onOlder, onLatest });
//   view.setStreams([{ id, pod, container, rank, restart }])
//   view.append(lines)    newest at the end       view.prepend(lines)   older ones, after onOlder()
//   view.reset()          forget everything       view.setState("connected" | "reconnecting" | "closed")
//
// A line is { s: streamId, n: ordinal, t: "2026-11-24T02:00:00.123456789Z", m: "text", k?: "gap" }.
//   onSelect(streamIds)   the reader chose which streams to see
//   onOlder()             the reader came to the top: answer once with prepend(lines), empty when there are none
//   onLatest()            the reader returns to the tail after lines went by unkept: reset() and append the latest
// Static markup and every word the reader sees are in templates/components/logview.html.
import { foldReturns, parse } from "cube/ansi";

const KEEP = 5000;
const ROW = 20;          // px, as in cube.css
const MARGIN = 20;       // rows drawn beyond each edge
const LONGEST = 4096;    // characters shown before "more"
const HUES = 8;

export class LogView {
  constructor(element, { onSelect = () => {}, onOlder = () => {}, onLatest = null } = {}) {
    this.element = element;
    this.call = { onSelect, onOlder, onLatest };
    this.part = Object.fromEntries([...element.querySelectorAll("[data-role]")].map((part) => [part.dataset.role, part]));
    this.words = element.dataset;
    this.streams = new Map();
    this.muted = new Set();
    this.wrapped = false;
    this.query = "";
    this.reset();
    this.#listen();
  }

  // ---- Data ----

  reset() {
    this.lines = [];
    this.shown = [];
    this.rows ??= new Map();
    this.follow = true;
    this.unseen = 0;
    this.detached = false;
    this.asked = false;
    this.matches = [];
    this.match = -1;
    this.rows.forEach((row) => row.remove());
    this.rows.clear();
    this.#measure();
    this.#schedule();
  }

  setStreams(streams) {
    this.streams = new Map(streams.map((stream, index) => [stream.id, { ...stream, hue: (stream.rank ?? index) % HUES }]));
    const chips = streams.length < 2 ? [] : streams.map((stream) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.className = `chip s${this.streams.get(stream.id).hue}`;
      chip.textContent = this.#nameOf(stream);
      chip.title = `${stream.pod} / ${stream.container}`;
      chip.dataset.stream = stream.id;
      chip.setAttribute("aria-pressed", String(!this.muted.has(String(stream.id))));
      return chip;
    });
    this.part.streams.replaceChildren(...chips);
    this.#redraw();
  }

  append(lines) {
    if (!lines.length) return;
    const fresh = lines.map((line) => this.#read(line));
    const visible = fresh.filter((line) => this.#wanted(line));
    if (!this.follow) {
      this.unseen += visible.length;
      // Someone is reading: rather than pull lines away from under them, let new ones pass and fetch them later.
      if (this.detached || (this.call.onLatest && this.lines.length + fresh.length > KEEP)) {
        this.detached = true;
        return this.#schedule();
      }
    }
    this.lines.push(...fresh);
    this.shown.push(...visible);
    this.#trimFront();
    this.#measure();
    this.#search();
    this.#schedule();
  }

  prepend(lines) {
    const fresh = lines.map((line) => this.#read(line));
    const visible = fresh.filter((line) => this.#wanted(line));
    this.lines.unshift(...fresh);
    this.shown.unshift(...visible);
    if (this.lines.length > KEEP) {
      const gone = new Set(this.lines.splice(KEEP));
      this.shown = this.shown.filter((line) => !gone.has(line));
      this.detached = true;
      this.follow = false;
    }
    this.asked = !fresh.length;
    this.#measure();
    this.#size();
    this.part.body.scrollTop += this.#top(visible.length);
    this.#search();
    this.#schedule();
  }

  setState(state) {
    const { state: light } = this.part;
    light.dataset.state = state;
    light.firstElementChild.textContent = this.words[`text${state[0].toUpperCase()}${state.slice(1)}`];
  }

  #read(line) {
    const { text, runs } = parse(foldReturns(line.m));
    return { ...line, text, runs, height: 0, open: false };
  }

  #wanted(line) { return !this.muted.has(String(line.s)); }

  #trimFront() {
    const over = this.lines.length - KEEP;
    if (over <= 0) return;
    const gone = new Set(this.lines.splice(0, over));
    let cut = 0;
    while (cut < this.shown.length && gone.has(this.shown[cut])) cut++;
    if (!this.follow) this.part.body.scrollTop -= this.#top(cut);
    this.shown.splice(0, cut);
  }

  // ---- Geometry: one row is 20 px; wrapped lines are estimated, then corrected once they have been drawn ----

  #measure() {
    if (!this.wrapped) { this.offsets = null; return; }
    const columns = this.columns || 80;
    this.offsets = new Float64Array(this.shown.length + 1);
    this.shown.forEach((line, index) => {
      const length = line.open ? line.text.length : Math.min(line.text.length, LONGEST);
      this.offsets[index + 1] = this.offsets[index] + (line.height || ROW * Math.max(1, Math.ceil(length / columns)));
    });
  }

  #top(index) { return this.offsets ? this.offsets[Math.min(index, this.offsets.length - 1)] : index * ROW; }

  #at(y) {
    if (!this.offsets) return Math.max(0, Math.floor(y / ROW));
    let low = 0, high = this.shown.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.offsets[middle] <= y) low = middle; else high = middle - 1;
    }
    return low;
  }

  #size() { this.part.canvas.style.height = `${this.#top(this.shown.length)}px`; }

  // ---- Drawing ----

  #schedule() { this.frame ??= requestAnimationFrame(() => { this.frame = null; this.#draw(); }); }

  #redraw() {
    this.rows.forEach((row) => row.remove());
    this.rows.clear();
    this.#schedule();
  }

  #draw() {
    const { body, canvas, rows, empty } = this.part;
    const height = body.clientHeight;
    this.#size();
    if (this.follow && !this.#selecting()) body.scrollTop = body.scrollHeight;

    const first = Math.max(0, this.#at(body.scrollTop) - MARGIN);
    const last = Math.min(this.shown.length, this.#at(body.scrollTop + height) + MARGIN);
    const wanted = this.shown.slice(first, last);
    const keep = new Set(wanted);
    for (const [line, row] of this.rows) {
      if (!keep.has(line)) { row.remove(); this.rows.delete(line); }
    }
    let next = rows.firstChild;
    for (const line of wanted) {
      let row = this.rows.get(line);
      if (!row) { row = this.#row(line); this.rows.set(line, row); }
      if (row === next) next = next.nextSibling;
      else rows.insertBefore(row, next);
    }
    rows.style.transform = `translateY(${this.#top(first)}px)`;
    empty.hidden = this.shown.length > 0;
    this.#drawPill();
    // The widest line seen so far sets the scroll width, so it does not jump while scrolling.
    if (this.wrapped) { if (this.#correct(wanted)) this.#schedule(); return; }
    this.width = Math.max(this.width ?? 0, rows.scrollWidth);
    canvas.style.minWidth = `${this.width}px`;
  }

  #correct(lines) {
    let wrong = false;
    for (const line of lines) {
      const height = this.rows.get(line).offsetHeight;
      if (height && height !== line.height) { wrong ||= height !== (line.height || ROW); line.height = height; }
    }
    if (wrong) this.#measure();
    return wrong;
  }

  #drawPill() {
    const { pill } = this.part;
    pill.hidden = this.follow || (!this.unseen && !this.detached);
    const { textLatest, textNewOne, textNew } = this.words;
    const words = [textLatest, textNewOne][this.unseen] ?? textNew;
    pill.lastElementChild.textContent = words.replace("{n}", this.unseen.toLocaleString());
  }

  #row(line) {
    const row = document.createElement("div");
    const stream = this.streams.get(line.s);
    row.className = `logrow${line.k === "gap" ? " gap" : ""}`;
    if (stream && this.streams.size > 1) row.classList.add(`s${stream.hue}`);
    row.append(piece("n", String(line.n + 1)));
    if (line.t) {
      const time = piece("t", clock(line.t));
      time.title = line.t;
      row.append(time);
    }
    if (stream && this.streams.size > 1) row.append(piece("p", this.#nameOf(stream)));
    row.append(this.#message(line));
    return row;
  }

  #message(line) {
    const cut = line.open || line.text.length <= LONGEST ? line.text.length : LONGEST;
    const message = piece("m", "");
    for (const [start, end, classes, hit] of this.#pieces(line, cut)) {
      const words = line.text.slice(start, end);
      if (!classes && !hit) { message.append(words); continue; }
      const span = document.createElement(hit ? "mark" : "span");
      span.className = classes + (hit && hit === this.matches[this.match] ? " now" : "");
      span.textContent = words;
      message.append(span);
    }
    if (cut < line.text.length) {
      const more = document.createElement("button");
      more.type = "button";
      more.className = "more";
      more.textContent = this.words.textMore.replace("{n}", (line.text.length - cut).toLocaleString());
      more.addEventListener("click", () => this.#open(line));
      message.append(more);
    }
    return message;
  }

  /** [start, end, classes, match]: the text cut wherever its colour or its highlight changes. */
  * #pieces(line, cut) {
    const hits = this.query ? this.matches.filter((match) => match.line === line) : [];
    const edges = new Set([0, cut, ...line.runs.map(([start]) => start), ...hits.flatMap(({ start, end }) => [start, end])]);
    const points = [...edges].filter((edge) => edge <= cut).sort((a, b) => a - b);
    let run = 0, classes = "";
    for (let index = 0; index + 1 < points.length; index++) {
      const start = points[index];
      while (run < line.runs.length && line.runs[run][0] <= start) classes = line.runs[run++][1];
      yield [start, points[index + 1], classes, hits.find((hit) => hit.start <= start && start < hit.end)];
    }
  }

  #open(line) {
    line.open = true;
    line.height = 0;
    this.#forget(line);
    this.#measure();
    this.#schedule();
  }

  #forget(line) {
    this.rows.get(line)?.remove();
    this.rows.delete(line);
  }

  #nameOf({ pod, container, rank, restart }) {
    const name = rank !== null && rank !== undefined ? this.words.textRank.replace("{n}", rank) : container || pod;
    return restart ? `${name} · ${this.words.textRestart.replace("{n}", restart)}` : name;
  }

  // ---- Find ----

  #search(fromStart = false) {
    const current = this.matches[this.match];
    if (!this.query) { this.matches = []; this.match = -1; return this.#countMatches(); }
    this.matches = [];
    for (const line of this.shown) {
      const text = line.text.toLowerCase();
      for (let at = text.indexOf(this.query); at >= 0; at = text.indexOf(this.query, at + this.query.length)) {
        this.matches.push({ line, start: at, end: at + this.query.length });
      }
    }
    this.match = fromStart || !current ? -1
      : this.matches.findIndex(({ line, start }) => line === current.line && start === current.start);
    this.#countMatches();
  }

  #countMatches() {
    const { found, previous, next } = this.part;
    const none = !this.matches.length;
    previous.hidden = next.hidden = none;
    found.textContent = !this.query ? "" : none ? this.words.textNone
      : this.words.textFound.replace("{i}", this.match + 1).replace("{n}", this.matches.length.toLocaleString());
  }

  #step(by) {
    if (!this.matches.length) return;
    const from = this.match < 0 && by < 0 ? 0 : this.match;
    this.match = (from + by + this.matches.length) % this.matches.length;
    const { line, end } = this.matches[this.match];
    if (end > LONGEST && !line.open) this.#open(line);
    this.follow = false;
    this.part.body.scrollTop = this.#top(this.shown.indexOf(line)) - this.part.body.clientHeight / 2;
    this.#countMatches();
    this.#redraw();
  }

  // ---- Listening ----

  #listen() {
    const { body, find, previous, next, wrap, times, pill, streams } = this.part;
    let lastTop = 0;
    body.addEventListener("scroll", () => {
      const end = body.scrollHeight - body.clientHeight - body.scrollTop;
      if (body.scrollTop < lastTop && end > ROW) this.follow = false;
      else if (end <= ROW && !this.detached) this.#catchUp();
      if (body.scrollTop < lastTop && body.scrollTop < ROW * MARGIN && !this.asked) {
        this.asked = true;
        this.call.onOlder();
      }
      lastTop = body.scrollTop;
      this.#schedule();
    }, { passive: true });
    pill.addEventListener("click", () => {
      if (this.detached && this.call.onLatest) { this.reset(); this.call.onLatest(); }
      else { this.#catchUp(); this.#schedule(); }
      body.focus({ preventScroll: true });
    });

    let typing;
    find.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => {
        this.query = find.value.toLowerCase();
        this.#search(true);
        this.#step(1);
        this.#redraw();
      }, 80);
    });
    find.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); this.#step(event.shiftKey ? -1 : 1); }
      if (event.key === "Escape") { find.value = this.query = ""; this.#search(); this.#redraw(); body.focus({ preventScroll: true }); }
    });
    next.addEventListener("click", () => this.#step(1));
    previous.addEventListener("click", () => this.#step(-1));

    wrap.addEventListener("click", () => this.#setWrap(!this.wrapped));
    times.addEventListener("click", () => {
      times.setAttribute("aria-pressed", String(this.element.classList.toggle("show-times")));
      this.#relayout();
    });
    streams.addEventListener("click", (event) => {
      const chip = event.target.closest("[data-stream]");
      if (chip) this.#toggleStream(chip);
    });
    body.addEventListener("keydown", (event) => {
      const letter = event.key.toLowerCase();
      if (event.key === "/" || ((event.ctrlKey || event.metaKey) && letter === "f")) { event.preventDefault(); find.focus(); find.select(); }
      if ((event.ctrlKey || event.metaKey) && letter === "a") { event.preventDefault(); this.#selectAll(); }
      if (event.key === "End") this.#catchUp();
    });
    body.addEventListener("pointerdown", () => { this.everything = false; });
    body.addEventListener("copy", (event) => this.#copy(event));
    new ResizeObserver(() => this.#relayout()).observe(body);
  }

  #catchUp() {
    this.follow = true;
    this.unseen = 0;
  }

  #toggleStream(chip) {
    const { stream } = chip.dataset;
    if (!this.muted.delete(stream)) this.muted.add(stream);
    chip.setAttribute("aria-pressed", String(!this.muted.has(stream)));
    this.shown = this.lines.filter((line) => this.#wanted(line));
    this.#measure();
    this.#search();
    this.#schedule();
    this.call.onSelect([...this.streams.keys()].filter((id) => !this.muted.has(String(id))));
  }

  #setWrap(wrapped) {
    this.wrapped = wrapped;
    this.element.classList.toggle("wrap", wrapped);
    this.part.wrap.setAttribute("aria-pressed", String(wrapped));
    this.#relayout();
  }

  /** Widths changed: keep the line at the top of the window where it is. */
  #relayout() {
    const { body } = this.part;
    const line = this.shown[this.#at(body.scrollTop)];
    const message = this.part.rows.querySelector(".m");
    if (message) this.columns = Math.max(20, Math.floor((body.clientWidth - message.offsetLeft - 16) / 7.5));
    this.shown.forEach((each) => { each.height = 0; });
    this.width = 0;
    this.part.canvas.style.minWidth = "";
    this.#measure();
    this.#size();
    if (!this.follow && line) body.scrollTop = this.#top(this.shown.indexOf(line));
    this.#schedule();
  }

  // ---- Selecting and copying: messages only, as they were written, without numbers, times or colours ----

  #selecting() {
    const selection = getSelection();
    return !selection.isCollapsed && this.part.rows.contains(selection.anchorNode);
  }

  #selectAll() {
    getSelection().selectAllChildren(this.part.rows);
    this.everything = true;
  }

  #copy(event) {
    const selection = getSelection();
    if (selection.isCollapsed) return;
    const picked = this.everything ? this.shown.map((line) => line.text) : this.#picked(selection.getRangeAt(0));
    event.clipboardData.setData("text/plain", picked.join("\n"));
    event.preventDefault();
    this.everything = false;
  }

  #picked(range) {
    const texts = [];
    for (const line of this.shown) {
      const row = this.rows.get(line);
      if (!row || !range.intersectsNode(row)) continue;
      const message = row.querySelector(".m");
      const part = document.createRange();
      part.selectNodeContents(message);
      if (message.contains(range.startContainer)) part.setStart(range.startContainer, range.startOffset);
      if (message.contains(range.endContainer)) part.setEnd(range.endContainer, range.endOffset);
      const whole = part.toString() === message.textContent;
      texts.push(whole ? line.text : part.toString());
    }
    return texts;
  }
}

function piece(name, words) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = words;
  return span;
}

function clock(time) {
  const at = new Date(time);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${time.slice(20, 23).padEnd(3, "0").replace(/\D/g, "0")}`;
}
