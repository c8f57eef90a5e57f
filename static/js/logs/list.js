// The list on the screen: draws the rows in view and a few beyond, and keeps what is read where it is.
//
// Whatever changes above or between (older lines, a late line, a group that opens, a wider window), the line at the top
// of the view stays at its place, unless the list follows its end.
export const ROW = 20;   // px, as in logview.css
const GAP_ROW = 30;
const FOOT = 12;         // padding below the last row
const BEYOND = 16;       // rows drawn beyond each edge
const FOLLOW_MS = 48;    // between drawings of a stream nobody could read line by line
const ANCHORS = 60;
const SETTLE_MS = 600;   // while heights become known after a jump, the line jumped to stays in place

export class List {
  /**
   * parts: { body, canvas, rows }; build(entry) makes a row's element; `collect()` answers the entries of now.
   * onEdge("top" | "bottom") comes when the reader nears an end; onFollow(boolean) when following starts or stops.
   */
  constructor({ body, canvas, rows }, { build, collect, onEdge, onFollow, onDraw }) {
    Object.assign(this, { body, canvas, rows, call: { build, collect, onEdge, onFollow, onDraw } });
    this.entries = [];
    this.offsets = new Float64Array(1);
    this.drawn = new Map();
    this.following = true;
    this.wrapped = false;
    this.columns = 80;
    this.width = 0;
    this.pin = null;
    this.lastTop = 0;
    this.drawnAt = 0;
    this.#listen();
  }

  /** Entries, or heights, are not what they were. */
  change() {
    this.isStale = true;
    const pause = this.following ? FOLLOW_MS - (performance.now() - this.drawnAt) : 0;
    if (pause <= 0) this.schedule();
    else this.timer ??= setTimeout(() => { this.timer = null; this.schedule(); }, pause);
  }

  schedule() { this.frame ??= requestAnimationFrame(() => { this.frame = null; this.#draw(); }); }

  /** Rows are to be drawn anew: of one entry, or all. */
  forget(entry) {
    for (const each of entry ? [entry] : [...this.drawn.keys()]) {
      this.drawn.get(each)?.remove();
      this.drawn.delete(each);
    }
    this.schedule();
  }

  get follow() { return this.following; }

  set follow(wanted) {
    if (wanted === this.following) return;
    this.following = wanted;
    if (wanted) this.pin = null;
    this.call.onFollow(wanted);
    this.schedule();
  }

  entryAt(y) { return this.entries[this.#at(y)]; }
  get topLine() { return this.entryAt(this.body.scrollTop)?.line; }
  /** How far below the upper edge the top line begins; mostly a little above it. */
  get topDelta() { return this.offsets[this.#at(this.body.scrollTop)] - this.body.scrollTop; }
  get linesInView() {
    const { scrollTop, clientHeight } = this.body;
    return this.entries.slice(this.#at(scrollTop), this.#at(scrollTop + clientHeight - 1) + 1).map(({ line }) => line);
  }

  /** Scroll until the line stands in the middle, or `delta` px below the upper edge, and stop following. */
  reveal(line, delta = (this.body.clientHeight - ROW) / 2) {
    this.follow = false;
    this.collectNow();
    this.pin = { line, delta, until: performance.now() + SETTLE_MS };
    this.#restore([this.pin]);
    this.schedule();
  }

  toTop() { this.follow = false; this.pin = null; this.body.scrollTop = 0; this.schedule(); }

  /** Another width, face or wrapping: no height is known any more. */
  relayout() {
    for (const { line } of this.entries) line.height = 0;
    const message = this.rows.querySelector(".m");
    if (message) this.columns = Math.max(20, Math.floor((this.body.clientWidth - message.offsetLeft - 16) / 7.5));
    this.width = 0;
    this.canvas.style.minWidth = "";
    this.change();
  }

  // ---- Geometry: a row is 20 px; wrapped rows are estimated, then corrected once they have been drawn ----

  #heightOf(entry) {
    if (entry.kind === "panel") return entry.height;
    if (entry.kind === "gap") return entry.line.height || GAP_ROW;
    if (!this.wrapped) return ROW;
    return entry.line.height || ROW * Math.max(1, Math.ceil((entry.line.look?.text ?? entry.line.m).length / this.columns));
  }

  collectNow() {
    this.isStale = false;
    this.entries = this.call.collect();
    this.#measure();
  }

  #measure() {
    const { entries } = this;
    if (this.offsets.length < entries.length + 1) this.offsets = new Float64Array(entries.length + 1024);
    const { offsets } = this;
    for (let index = 0; index < entries.length; index++) offsets[index + 1] = offsets[index] + this.#heightOf(entries[index]);
    this.canvas.style.height = `${offsets[entries.length]}px`;
  }

  #at(y) {
    let low = 0, high = Math.max(0, this.entries.length - 1);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.offsets[middle] <= y) low = middle; else high = middle - 1;
    }
    return low;
  }

  /** The lines in view and how far below the upper edge each stands; the first that survives a change is held on to. */
  #anchors() {
    if (this.pin && this.pin.until > performance.now()) return [this.pin];
    this.pin = null;
    const { scrollTop } = this.body;
    const first = this.#at(scrollTop);
    return this.entries.slice(first, first + ANCHORS).map(({ line }, index) => ({ line, delta: this.offsets[first + index] - scrollTop }));
  }

  #restore(anchors) {
    const alive = anchors.find(({ line }) => line.at >= 0 && this.entries[line.at] && this.#holds(this.entries[line.at], line));
    if (!alive) return;
    this.body.scrollTop = this.lastTop = Math.max(0, this.offsets[alive.line.at] - alive.delta);
  }

  #holds(entry, line) { return entry.line === line || entry.members?.includes(line); }

  // ---- Drawing ----

  /** Reads sizes first and writes after, so that the browser lays out once for each drawing. */
  #draw() {
    const { body, rows } = this;
    const { clientHeight } = body;
    this.drawnAt = performance.now();
    if (!clientHeight) return;  // Hidden, in a tab: drawn when it is shown.
    if (this.isStale) {
      const anchors = this.following ? [] : this.#anchors();
      this.collectNow();
      this.#restore(anchors);
    }
    const bottom = this.offsets[this.entries.length] + FOOT - clientHeight;
    const scrollTop = this.following ? Math.max(0, bottom) : body.scrollTop;
    const beyond = this.following ? 4 : BEYOND;
    const first = Math.max(0, this.#at(scrollTop) - beyond);
    const last = Math.min(this.entries.length, this.#at(scrollTop + clientHeight) + 1 + beyond);
    this.isTall = bottom > 0;
    this.#place(this.entries.slice(first, last));
    rows.style.transform = `translateY(${this.offsets[first]}px)`;
    if (this.following) {
      body.scrollTop = bottom + clientHeight;
      this.lastTop = body.scrollTop;
    }
    this.call.onDraw();
    if (this.#correct()) this.change();
    // The widest line seen so far sets the scroll width, so it does not jump while scrolling.
    if (this.wrapped) return;
    const { scrollWidth } = rows;
    if (scrollWidth > this.width) {
      this.width = scrollWidth;
      this.canvas.style.minWidth = `${scrollWidth}px`;
    }
  }

  #place(wanted) {
    const keep = new Set(wanted);
    for (const [entry, row] of this.drawn) {
      if (keep.has(entry)) continue;
      if (row.contains(document.activeElement)) this.body.focus({ preventScroll: true });
      row.remove();
      this.drawn.delete(entry);
    }
    let next = this.rows.firstChild;
    for (const entry of wanted) {
      let row = this.drawn.get(entry);
      if (!row) { row = this.call.build(entry); this.drawn.set(entry, row); }
      if (row === next) next = next.nextSibling;
      else this.rows.insertBefore(row, next);
    }
  }

  #correct() {
    let isWrong = false;
    for (const [entry, row] of this.drawn) {
      if (entry.kind === "panel" || (!this.wrapped && entry.kind !== "gap")) continue;
      const height = row.offsetHeight;
      if (!height || height === entry.line.height) continue;
      isWrong ||= height !== this.#heightOf(entry);
      entry.line.height = height;
    }
    return isWrong;
  }

  // ---- Scrolling ----

  #listen() {
    const { body } = this;
    const letGo = () => { this.pin = null; };
    body.addEventListener("wheel", (event) => { letGo(); if (event.deltaY < 0 && body.scrollTop > 0) this.follow = false; }, { passive: true });
    body.addEventListener("touchmove", letGo, { passive: true });
    body.addEventListener("pointerdown", letGo);
    body.addEventListener("keydown", letGo);
    body.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.relayout()).observe(body);
  }

  #scrolled() {
    const { body } = this;
    const end = body.scrollHeight - body.clientHeight - body.scrollTop;
    const isUpward = body.scrollTop < this.lastTop;
    if (isUpward && end > ROW) this.follow = false;
    const reach = Math.max(body.clientHeight, ROW * BEYOND);
    if (isUpward && body.scrollTop < reach) this.call.onEdge("top");
    // The event of a scroll of our own comes a moment later, maybe after the reader has paused: it is no wish to follow.
    else if (!isUpward && end < reach) this.call.onEdge(end <= ROW / 2 && body.scrollTop > this.lastTop ? "end" : "bottom");
    this.lastTop = body.scrollTop;
    this.schedule();
  }
}
