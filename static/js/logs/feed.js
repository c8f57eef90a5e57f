// What the socket says, and what is asked of it. The server sends windows of the log; at the end of it, it goes on live.
//
// `atStart` and `atEnd` say whether the lines held reach the log's ends. While the reader has stopped, lines that no
// longer fit are let go and fetched again when the reader comes down to them; the server has them all.
import { KEEP } from "cube/logs/held";

const WINDOW = 1000;
const PAGE = 500;
const SLOW_MS = 1500;       // after this the reader is told that the server takes its time
const PATIENCE_MS = 15_000; // after this an unanswered page may be asked for again
const BUSY_MS = 3000;       // before what took too long is asked for again
const MOST_TRIES = 2;

export class Feed {
  /** view: see view.js; send(message) answers whether there was a connection. */
  constructor(view, send) {
    Object.assign(this, { view, send, held: view.held });
    this.number = 0;
    this.wish = null;        // the window asked for: { id, at, tries }
    this.shown = undefined;  // the id of the window shown
    this.isStale = false;    // what comes belongs to a window nobody wants any more
    this.isFresh = false;    // the next lines replace what is held
    this.asked = null;       // a page before or after: { type, left }
    this.atStart = false;
    this.atEnd = true;
    this.unseen = 0;
    this.isEnded = false;
    this.baseline = new Map();
    this.searches = new Map();
    this.wholes = new Map();
  }

  receive(message) { this[`on_${message.type}`]?.(message); }

  // ---- The connection ----

  /** Query parameters of the next connection. */
  get query() {
    if (!this.wasConnected) return { tail: WINDOW };
    return this.#canResume ? { resume: 1 } : { tail: 1 };
  }

  get #canResume() { return this.atEnd && !this.wish && this.held.next.size > 0; }

  connected() {
    this.asked = null;
    const isFirst = !this.wasConnected;
    const canResume = this.#canResume;
    this.wasConnected = true;
    for (const [id, then] of this.searches) { this.searches.delete(id); then({ refused: "" }); }
    if (this.wish) {
      if (++this.wish.tries > MOST_TRIES) this.#giveUp();
      else this.#ask();
    } else if (isFirst) {
      // The server sends the tail unasked.
    } else if (canResume) this.send({ type: "resume", cursors: this.#cursors("next"), filter: this.view.filter });
    else this.show(this.view.place, null, true);
  }

  on_streams({ streams }) {
    // Of streams without a line in the tail, all lines so far lie before it.
    if (!this.baseline.size && this.atEnd) for (const { id, lines } of streams) if (lines !== undefined) this.baseline.set(id, lines);
    this.view.setStreams(streams);
  }

  #cursors(side) {
    const cursors = new Map(side === "next" ? this.baseline : []);
    for (const [stream, ordinal] of this.held[side]) cursors.set(stream, ordinal);
    return Object.fromEntries(cursors);
  }

  // ---- Windows ----

  /** Show another place: {tail}, {head}, {line: [s, n]}, {time} or {error}. Quietly: as if nothing had happened. */
  show(at, then = null, isQuiet = false) {
    this.wish = { id: ++this.number, at, tries: 0, then, isQuiet, delta: this.view.list.topDelta };
    this.#ask();
  }

  #ask() {
    const { id, at } = this.wish;
    this.send({ type: "show", id, filter: this.view.filter, at, count: WINDOW });
    this.view.wait(true);
    clearTimeout(this.slow);
    this.slow = setTimeout(() => this.view.notice("slow"), SLOW_MS);
  }

  #granted() {
    clearTimeout(this.slow);
    this.view.notice("slow", null);
    this.view.wait(false);
    const { wish } = this;
    this.wish = null;
    return wish;
  }

  #giveUp() {
    this.#granted();
    this.view.notice("unanswered");
  }

  latest() {
    if (this.wish) this.#granted();
    this.send({ type: "latest", count: WINDOW });
  }

  on_reset({ id = null }) {
    this.isStale = id !== null && id !== this.wish?.id;
    if (this.isStale) return;
    this.isFresh = true;
    this.asked = null;
    this.shown = id;
    if (id === null) {
      if (this.wish) this.#granted();
      this.#fresh();
      this.atEnd = true;
      this.view.list.follow = true;
    }
    this.view.changed();
  }

  #fresh() {
    if (!this.isFresh) return;
    this.isFresh = false;
    this.held.clear();
    this.baseline.clear();
    this.unseen = 0;
    this.atStart = false;
  }

  on_window({ id = null, lines, before, after, focus }) {
    if (this.isStale || (id !== null && id !== this.shown)) return;
    this.#fresh();
    this.held.append(lines);
    this.atStart = !before;
    this.atEnd = !after;
    const wish = this.wish?.id === id ? this.#granted() : null;
    this.view.changed();
    if (wish) this.view.arrived(wish, focus ?? null);
  }

  // ---- Lines ----

  on_lines({ lines }) {
    if (this.isStale) return;
    this.#fresh();
    this.view.rate(lines.length);
    const { list } = this.view;
    if (this.atEnd && !list.follow && this.held.lines.length + lines.length > KEEP) this.atEnd = false;
    if (!this.atEnd) {
      this.unseen += lines.length;
      this.view.changed(false);
      return;
    }
    if (this.#hasHole(lines)) {
      this.atEnd = false;
      this.edge("end");
      return;
    }
    const fresh = this.held.append(lines);
    if (!list.follow) this.unseen += fresh;
    this.view.changed();
  }

  /** Without a text to match, lines of a stream go on where it ended: else some were let go before, and are fetched. */
  #hasHole(lines) {
    if (this.view.filter.text) return false;
    const known = new Set();
    return lines.some(({ s, n }) => {
      if (known.has(s)) return false;
      known.add(s);
      return n > (this.held.next.get(s) ?? Infinity);
    });
  }

  /** The reader nears an end of what is held. */
  edge(side) {
    if (this.wish || this.isStale || !this.held.next.size) return;
    if (this.asked && this.asked.until > performance.now()) return;
    const isTop = side === "top";
    if (isTop ? this.atStart : this.atEnd) return;
    const type = isTop ? "before" : "after";
    if (!this.send({ type, cursors: this.#cursors(isTop ? "first" : "next"), count: PAGE })) return;
    this.asked = { type, left: PAGE, until: performance.now() + PATIENCE_MS };
  }

  /** One request may be answered in several messages; the last of the log's lines ends it as well. */
  #answered(type, { lines, more, busy }) {
    if (this.isStale || this.asked?.type !== type) return false;
    if (busy) {  // The server gave up its turn, not the log: ask again later.
      this.asked = { type: "", left: 0, until: performance.now() + BUSY_MS };
      return false;
    }
    this.asked.left -= lines.length;
    if (!more || this.asked.left <= 0) this.asked = null;
    return true;
  }

  on_older(message) {
    if (!this.#answered("before", message)) return;
    if (!message.more) this.atStart = true;
    if (this.held.prepend(message.lines)) this.atEnd = false;
    this.view.changed();
  }

  on_newer(message) {
    if (!this.#answered("after", message)) return;
    const { lines } = this.held;
    const first = lines[0];
    this.held.append(message.lines);
    if (first && this.held.lines[0] !== first) this.atStart = false;
    if (!message.more) {
      this.atEnd = true;
      this.unseen = 0;
    }
    this.view.changed();
  }

  on_rewind({ s, to }) {
    this.held.rewind(s, to);
    if (this.baseline.has(s)) this.baseline.set(s, Math.min(to, this.baseline.get(s)));
    this.view.changed();
  }

  on_lag({ behind }) { this.view.notice("lag", behind || null); }

  on_end() {
    this.isEnded = true;
    this.view.notice("lag", null);
    this.view.setState("closed");
  }

  // ---- Questions ----

  find(question, then) {
    const id = ++this.number;
    this.searches.clear();
    this.searches.set(id, then);
    if (!this.send({ type: "find", id, ...question })) { this.searches.delete(id); then({ refused: "" }); }
  }

  on_found({ id, line, wrapped, busy }) {
    const then = this.searches.get(id);
    if (!then) return;
    this.searches.delete(id);
    then(busy && !line ? { refused: this.view.words.textTooMuch } : { line, wrapped });
  }

  /** The whole text of a line that came shortened. */
  whole(line, then) {
    this.wholes.set(line.key, then);
    this.send({ type: "whole", line: [line.s, line.n] });
  }

  on_whole({ s, n, m }) {
    const key = `${s}-${n}`;
    this.wholes.get(key)?.(m ?? this.view.words.textNoLine);
    this.wholes.delete(key);
  }

  on_refused({ id, message }) {
    const then = this.searches.get(id);
    if (then) {
      this.searches.delete(id);
      then({ refused: message });
    } else if (this.wish?.id === id) {
      this.#granted();
      this.view.refuse(message);
    }
  }
}
