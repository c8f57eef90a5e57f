// Chosen lines: a click on a number chooses one, with Shift a range; the address of the page names them, so it can be sent.
//   #L<stream>-<ordinal>            one line
//   #L<stream>-<ordinal>,<stream>-<ordinal>   from one to another, in the order of the merged log
import { absolute } from "cube/logs/stamps";

const HASH = /^#L(\d+)-(\d+)(?:,(\d+)-(\d+))?$/;

/** [[stream, ordinal], …] of one or two ends, or null: the hash names no lines. */
export function linesIn(hash) {
  const found = HASH.exec(hash);
  if (!found) return null;
  const numbers = found.slice(1).filter((each) => each !== undefined).map(Number);
  if (!numbers.every(Number.isSafeInteger)) return null;
  return numbers.length === 2 ? [numbers] : [numbers.slice(0, 2), numbers.slice(2)];
}

export class Picks {
  /** held and list as in view.js; onChange() when other lines are chosen. */
  constructor({ held, list, onChange }) {
    Object.assign(this, { held, list, onChange, ends: [] });
  }

  get isEmpty() { return this.ends.length === 0; }

  has(line) {
    if (!this.ends.length) return false;
    const [from, to] = this.#span();
    if (this.ends.some((key) => key === line.key)) return true;
    return from !== null && line.at >= from && line.at <= to;
  }

  /** The chosen lines that are held, in order. */
  get lines() { return this.held.lines.filter((line) => line.at >= 0 && this.has(line)); }

  pick(line, { isRange = false } = {}) {
    const isOff = !isRange && this.ends.length === 1 && this.ends[0] === line.key;
    this.ends = isOff ? [] : isRange && this.ends.length ? [this.ends[0], line.key] : [line.key];
    this.#sort();
    this.#tellAddress();
    this.onChange();
  }

  set(ends) {
    this.ends = ends.map(([stream, ordinal]) => `${stream}-${ordinal}`);
    this.onChange();
  }

  clear() {
    if (this.isEmpty) return;
    this.ends = [];
    this.#tellAddress();
    this.onChange();
  }

  get address() {
    return this.isEmpty ? "" : `#L${this.ends.join(",")}`;
  }

  #sort() {
    const [from, to] = this.ends.map((key) => this.held.byKey.get(key)?.at ?? -1);
    if (to !== undefined && to < from) this.ends.reverse();
  }

  #span() {
    const at = this.ends.map((key) => this.held.byKey.get(key)?.at ?? -1);
    return at.length === 2 && at.every((each) => each >= 0) ? at : [null, null];
  }

  #tellAddress() { history.replaceState(null, "", this.address || location.pathname + location.search); }
}

/** The text of lines as a file would hold it; with stamps and names when asked. */
export function textOf(lines, { withStamps, nameOf }) {
  return lines.map((line) => {
    const words = line.panel?.text ?? line.look?.text ?? line.m;
    return withStamps ? `${absolute(line.t)} ${nameOf ? `${nameOf(line)} ` : ""}${words}` : words;
  }).join("\n");
}

/** Whether the clipboard took it. Plain http away from localhost has no clipboard API. */
export async function toClipboard(text, within) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const focused = document.activeElement;
    const field = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden" });
    within.append(field);
    field.select();
    const isTaken = document.execCommand("copy");
    field.remove();
    focused?.focus?.({ preventScroll: true });
    return isTaken;
  }
}
