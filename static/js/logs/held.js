// The lines a viewer holds: at most KEEP of them, in the order shown, and where every stream goes on at either end.
//
// Within a stream the ordinal is law, so what comes twice is known by it; across streams the server's order is kept.
// `first` and `next` are cursors: everything of a stream below `first` lies before the lines held, everything from
// `next` on behind them. They outlive the lines, so a stream that scrolled away is still asked for at the right place.
export const KEEP = 5000;

export const keyOf = (stream, ordinal) => `${stream}-${ordinal}`;

export class Held {
  constructor() { this.clear(); }

  clear() {
    this.lines = [];
    this.byKey = new Map();
    this.first = new Map();
    this.next = new Map();
  }

  get(stream, ordinal) { return this.byKey.get(keyOf(stream, ordinal)); }

  /** Lines that follow; answers how many were new. Beyond KEEP the oldest go. */
  append(lines) {
    const before = this.lines.length;
    for (const line of lines) {
      if (line.n < (this.next.get(line.s) ?? 0)) continue;
      this.next.set(line.s, line.n + 1);
      if (!this.first.has(line.s)) this.first.set(line.s, line.n);
      this.#put(line);
    }
    const fresh = this.lines.length - before;
    this.#cutFront();
    return fresh;
  }

  /** Lines that lie before. Beyond KEEP the newest go; answers whether any did. */
  prepend(lines) {
    const fresh = lines.filter(({ s, n }) => n < (this.first.get(s) ?? Infinity)).map(record);
    for (const line of fresh) {
      this.byKey.set(line.key, line);
      this.first.set(line.s, Math.min(line.n, this.first.get(line.s) ?? Infinity));
      if (!this.next.has(line.s)) this.next.set(line.s, 0);
      if (line.n >= this.next.get(line.s)) this.next.set(line.s, line.n + 1);
    }
    this.lines = fresh.concat(this.lines);
    const gone = this.lines.splice(KEEP);
    for (let index = gone.length - 1; index >= 0; index--) {
      this.next.set(gone[index].s, gone[index].n);
      this.byKey.delete(gone[index].key);
    }
    return gone.length > 0;
  }

  /** What was announced from ordinal `to` on never became durable: it goes, and may come again. */
  rewind(stream, to) {
    this.lines = this.lines.filter((line) => line.s !== stream || line.n < to || !this.byKey.delete(line.key));
    if (this.next.has(stream)) this.next.set(stream, Math.min(to, this.next.get(stream)));
    if (this.first.has(stream)) this.first.set(stream, Math.min(to, this.first.get(stream)));
  }

  #put(raw) {
    const line = record(raw);
    const { lines } = this;
    let at = lines.length;
    // A late line goes where its time says, but never before an earlier line of its own stream.
    if (raw.l) while (at > 0 && lines[at - 1].t > line.t && lines[at - 1].s !== line.s) at--;
    if (at === lines.length) lines.push(line);
    else lines.splice(at, 0, line);
    this.byKey.set(line.key, line);
  }

  #cutFront() {
    const over = this.lines.length - KEEP;
    if (over <= 0) return;
    for (const line of this.lines.splice(0, over)) {
      this.first.set(line.s, line.n + 1);
      this.byKey.delete(line.key);
    }
  }
}

/** A line as the view keeps it. All properties from the start: thousands of these must stay one shape. */
function record({ s, n, t, m, k = "", g = null, x = 0, l = 0 }) {
  return {
    s, n, t, m, k, g, x, l, key: keyOf(s, n),
    look: null,       // what `read` in rows.js made of it
    height: 0,        // px once drawn wrapped
    at: -1,           // index of its entry
    entry: null,      // see entries.js
    panel: null,      // opened: its whole text or the states of a progress bar
    hits: null,       // [[start, end], …] for the query numbered `hitsFor`
    hitsFor: 0,
    spread: false,    // the lines of its group are shown one by one
  };
}
