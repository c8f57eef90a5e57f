// What the viewer says about itself: the state of the connection, notices, the pill, the empty log, the chosen lines.
const PASSING_MS = 3500;
const PASSING = new Set(["wrapped", "noError", "noLine", "copied", "copiedLink"]);
const CALM = 3;  // lines a second that a screen reader may read out

export class Status {
  constructor(view) {
    this.view = view;
    this.notices = new Map();
    this.came = 0;
    setInterval(() => this.#second(), 1000);
  }

  /** connecting, connected, reconnecting or closed. */
  set(state) {
    const { part, words, feed } = this.view;
    this.state = feed?.isEnded && state === "connected" ? "closed" : state;
    const light = part.state;
    // "Live" would promise lines: a page may say, within the text of an empty log, that nothing runs yet.
    const idle = this.state === "connected" && !this.view.held.lines.length && part.empty.querySelector("[data-idle]")?.dataset.idle;
    const shown = idle ? "idle" : this.state;
    if (light.dataset.state === shown && !idle) return;
    light.dataset.state = shown;
    light.firstElementChild.textContent = idle || words[`text${this.state[0].toUpperCase()}${this.state.slice(1)}`];
  }

  /** A notice with its number, or null to take it away. Some pass by themselves. */
  notice(kind, value = true) {
    if (value === null) this.notices.delete(kind);
    else this.notices.set(kind, value);
    if (value !== null && PASSING.has(kind)) {
      clearTimeout(this.passing);
      this.passing = setTimeout(() => { PASSING.forEach((each) => this.notices.delete(each)); this.#drawNotice(); }, PASSING_MS);
    }
    this.#drawNotice();
  }

  #drawNotice() {
    const { notice, noticetext, noticeact } = this.view.part;
    const [kind, value] = [...this.notices].at(-1) ?? [];
    notice.hidden = !kind;
    if (!kind) return;
    const name = `text${kind[0].toUpperCase()}${kind.slice(1)}`;
    const words = this.view.words[value === 1 ? `${name}One` : name] ?? this.view.words[name];
    const said = words.replace("{n}", value.toLocaleString());
    if (noticetext.textContent !== said) noticetext.textContent = said;
    notice.dataset.kind = kind;
    noticeact.hidden = kind !== "unanswered";
  }

  rate(lines) { this.came += lines; }

  /** A calm log is read out while it is followed; a fast one would never let anything else be heard. */
  #second() {
    const isCalm = this.came <= CALM && this.view.list.follow;
    this.came = 0;
    const polite = isCalm ? "polite" : "off";
    const { body } = this.view.part;
    if (body.getAttribute("aria-live") !== polite) body.setAttribute("aria-live", polite);
  }

  draw() {
    const { view } = this;
    const { part, list, held, feed } = view;
    if (part.state.dataset.state === "idle") this.set(this.state);
    const isEmpty = !list.entries.length && !view.isWaiting;
    const isFiltered = view.filterbar.isActive || view.pods.filter !== null;
    part.empty.hidden = !isEmpty || isFiltered;
    part.nomatch.hidden = !isEmpty || !isFiltered;
    const digits = String((held.lines.at(-1)?.n ?? 0) + 1).length;
    if (digits > (this.digits ?? 5)) {
      this.digits = digits;
      view.element.style.setProperty("--digits", `${digits + 1}ch`);
    }
    part.body.classList.toggle("at-start", feed.atStart);
    this.drawPill();
  }

  drawPill() {
    const { part, words, list, feed } = this.view;
    if (!feed) return;
    const unseen = feed.unseen;
    part.pill.hidden = (list.follow && feed.atEnd) || (feed.atEnd && !unseen);
    const said = ([words.textLatest, words.textNewOne][unseen] ?? words.textNew).replace("{n}", unseen.toLocaleString());
    const label = part.pill.lastElementChild;
    if (label.textContent !== said) label.textContent = said;
  }

  drawPicks() {
    const { picks, part, words } = this.view;
    part.picked.hidden = picks.isEmpty;
    if (picks.isEmpty) return;
    const count = Math.max(1, picks.lines.length);
    part.pickedtext.textContent = (count === 1 ? words.textPickedOne : words.textPicked).replace("{n}", count.toLocaleString());
  }
}
