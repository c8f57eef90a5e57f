// One row of the list from one entry. Text only ever becomes text nodes; colours and marks are classes on spans.
import { parse, statesOf, visible } from "cube/ansi";
import { absolute, millisecondsOf, since } from "cube/logs/stamps";

// Only a tint: how a line looks, never what the server calls an error.
const LEVELS = [
  [/\b(?:ERROR|FATAL|CRITICAL|PANIC)\b|^Traceback \(most|^\w*(?:\.\w+)*(?:Error|Exception)\b|^E\d{4} /, "level-error"],
  [/\b(?:WARN|WARNING)\b|Warning:|^W\d{4} /, "level-warn"],
];
const LONGEST = 6000;  // characters of one row; the server sends 4 KiB, other servers may send more

/** What a line looks like: {text, runs, states}. A progress bar shows its last state. */
export function read(line) {
  if (!line.look) {
    const states = statesOf(line.m);
    line.look = { ...parse(states.at(-1)), states: states.length };
  }
  return line.look;
}

export class Rows {
  /** view: what is shown and how; words: the texts of the template. */
  constructor(view) {
    this.view = view;
    this.words = view.words;
  }

  build(entry) {
    if (entry.kind === "panel") return entry.element;
    return entry.kind === "gap" ? this.#gap(entry.line) : this.#line(entry);
  }

  #line(entry) {
    const { line } = entry;
    const { view } = this;
    const row = element("div", "logrow");
    row.dataset.key = line.key;
    this.#dress(row, line);
    if (entry.isChild) row.classList.add("child");
    else if (entry.count > 1) row.classList.add("same");
    const level = LEVELS.find(([pattern]) => pattern.test(read(line).text.slice(0, 240)));
    if (level) row.classList.add(level[1]);
    if (line.l) row.classList.add("late");
    row.append(this.#number(line));
    if (view.times !== "off") row.append(this.#time(entry));
    if (view.isMany) row.append(this.#pod(entry));
    row.append(this.#message(entry));
    const { text } = read(line);
    const left = line.x || Math.max(0, text.length - LONGEST);
    if (left) row.append(this.#act("more", this.words.textMore.replace("{n}", sizeOf(left)), line));
    return row;
  }

  #dress(row, line) {
    if (this.view.picks.has(line)) row.classList.add("picked");
    if (this.view.flashed === line.key) row.classList.add("flash");
    const stream = this.view.streams.get(line.s);
    if (stream && this.view.isMany) row.classList.add(`s${stream.hue}`);
  }

  #number(line) {
    const number = element("a", "n", String(line.n + 1));
    number.href = `#L${line.key}`;
    number.tabIndex = -1;
    number.setAttribute("aria-label", this.words.textLine.replace("{n}", line.n + 1));
    return number;
  }

  #time(entry) {
    const { line } = entry;
    const { times, list } = this.view;
    let words = absolute(line.t);
    if (times === "start") words = since(line.t, this.view.startOf(line));
    if (times === "previous") {
      const before = list.entries[line.at - 1]?.line;
      words = before ? since(line.t, millisecondsOf(before.t), true) : "";
    }
    const time = element("time", "t", words);
    time.title = `${line.t}\n${absolute(line.t)}`;
    return time;
  }

  #pod(entry) {
    const { line, count } = entry;
    const pod = element("span", "p");
    const stream = this.view.streams.get(line.s);
    if (count > 1) {
      const button = element("button", "count", `×${count}`);
      button.type = "button";
      button.dataset.act = "spread";
      button.setAttribute("aria-expanded", String(line.spread));
      button.setAttribute("aria-label", this.words.textSame.replace("{n}", count));
      button.title = button.getAttribute("aria-label");
      pod.append(button);
      if (!line.spread) {
        if (count === this.view.pods.pods.size) pod.append(this.words.textAll);
        return pod;
      }
    }
    pod.append(this.view.pods.nameOf(stream, line.s));
    if (stream) pod.title = `${stream.pod} / ${stream.container}`;
    return pod;
  }

  #message(entry) {
    const { line } = entry;
    const { text, states } = read(line);
    const message = element("span", "m");
    if (line.l) message.append(this.#tag("late", this.words.textLate, this.words.textLateTitle));
    if (states > 1) message.append(this.#act("fold", this.words.textStates.replace("{n}", states.toLocaleString()), line));
    const cut = Math.min(text.length, LONGEST);
    this.#write(message, line, cut);
    if (line.k === "part") message.append(this.#tag("part", this.words.textPart, this.words.textPartTitle));
    return message;
  }

  #tag(name, words, title) {
    const tag = element("span", `logtag ${name}`, words);
    tag.title = title;
    return tag;
  }

  #act(name, words, line) {
    const button = element("button", `logtag act ${name}`, words);
    button.type = "button";
    button.dataset.act = name;
    button.setAttribute("aria-expanded", String(line.panel?.name === name));
    return button;
  }

  /** The text cut wherever its colour or its highlight changes. */
  #write(message, line, cut) {
    const { text, runs } = line.look;
    const hits = this.view.find.hitsOf(line);
    const now = this.view.find.current?.line === line ? this.view.find.current.index : -1;
    if (!runs.length && !hits.length) { message.append(cut < text.length ? text.slice(0, cut) : text); return; }
    const edges = new Set([0, cut]);
    for (const [start] of runs) edges.add(start);
    for (const [start, end] of hits) edges.add(start).add(end);
    const points = [...edges].filter((edge) => edge <= cut).sort((a, b) => a - b);
    let run = 0, hit = 0, classes = "";
    for (let index = 0; index + 1 < points.length; index++) {
      const start = points[index];
      while (run < runs.length && runs[run][0] <= start) classes = runs[run++][1];
      while (hit < hits.length && hits[hit][1] <= start) hit++;
      const isHit = hit < hits.length && hits[hit][0] <= start;
      const words = text.slice(start, points[index + 1]);
      if (!classes && !isHit) message.append(words);
      else message.append(element(isHit ? "mark" : "span", isHit && hit === now ? `${classes} now` : classes, words));
    }
  }

  #gap(line) {
    const { g } = line;
    const row = element("div", "logrow gap");
    row.dataset.key = line.key;
    this.#dress(row, line);
    const band = element("div", "band");
    const words = element("span", "m");
    words.append(element("strong", "", this.words.textGap), " ", visible(g?.text ?? line.m));
    const facts = g ? this.#factsOf(g) : "";
    band.append(this.view.icon("alert-triangle"), words);
    if (this.view.isMany) words.prepend(element("em", "", this.view.pods.nameOf(this.view.streams.get(line.s), line.s)), " ");
    if (facts) band.append(element("span", "facts-of-gap", facts));
    row.append(this.#number(line), band);
    return row;
  }

  #factsOf({ since: from, until, bytes }) {
    const clock = (stamp) => absolute(stamp).slice(6, 14);
    const facts = [];
    if (from && until) facts.push(`${clock(from)} – ${clock(until)} (${since(until, millisecondsOf(from), true).slice(1)})`);
    else if (from || until) facts.push((from ? this.words.textGapSince : this.words.textGapUntil).replace("{t}", clock(from ?? until)));
    if (bytes) facts.push(sizeOf(bytes));
    return facts.join(" · ");
  }
}

/** An element with a class and text, never markup. */
export function element(name, className, text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** 1.2 MB, 34 kB, 812 B. */
export function sizeOf(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
