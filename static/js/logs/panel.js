// What opens below a line: the whole of a long line, or every state of a progress bar, in a box that scrolls by itself.
// The text comes in pieces as the reader goes down, so a megabyte is laid out only as far as it is looked at.
import { parse } from "cube/ansi";
import { element, sizeOf } from "cube/logs/rows";

const PIECE = 16 * 1024;  // characters laid out at a time
const TALLEST = 320;      // px
const HEAD = 37;
const ROW = 20;

/** An entry of the list: {kind: "panel", element, height, fill(text)}. `act` hears "copy" and "close". */
export function panel(line, name, { words, title, act }) {
  const box = element("div", "logpanel");
  box.dataset.key = line.key;
  const head = element("div", "logpanel-head");
  const size = element("span", "faint");
  const buttons = [["copy", words.textCopy], ["close", words.textClose]].map(([action, label]) => {
    const button = element("button", "btn btn-sm", label);
    button.type = "button";
    button.addEventListener("click", () => act(action));
    return button;
  });
  head.append(element("strong", "", title), size, ...buttons);
  const body = element("div", "logpanel-body");
  body.tabIndex = 0;
  body.setAttribute("aria-label", title);
  const foot = element("p", "faint", words.textWaiting);
  body.append(foot);
  box.append(head, body);

  const entry = { kind: "panel", line, name, element: box, height: 0, text: null, fill };
  let shown = 0;

  function fill(text) {
    entry.text = text;
    shown = 0;
    body.replaceChildren();
    size.textContent = sizeOf(text.length);
    const rows = text.split("\n", 20).reduce((sum, each) => sum + Math.ceil((each.length + 1) / 100), 0);
    stand(Math.min(TALLEST, HEAD + 22 + rows * ROW));
    more();
  }

  function stand(height) {
    entry.height = height;
    box.style.height = `${height - 6}px`;  // 3 px of air above and below
  }

  function more() {
    if (entry.text === null || shown >= entry.text.length) return;
    const end = wholePiece(entry.text, shown, shown + PIECE);
    body.append(coloured(entry.text.slice(shown, end)));
    shown = end;
  }

  body.addEventListener("scroll", () => {
    if (body.scrollHeight - body.clientHeight - body.scrollTop < TALLEST) more();
  }, { passive: true });
  stand(HEAD + 3 * ROW);
  return entry;
}

/** Not within an escape sequence, nor between the halves of a character. */
function wholePiece(text, from, end) {
  if (end >= text.length) return text.length;
  const escape = text.lastIndexOf("\x1b", end);
  if (escape > from && end - escape < 32) return escape;
  const code = text.charCodeAt(end);
  return code >= 0xdc00 && code <= 0xdfff ? end - 1 : end;
}

function coloured(raw) {
  const { text, runs } = parse(raw);
  const piece = element("span", "logpiece");
  if (!runs.length) { piece.textContent = text; return piece; }
  let from = 0, classes = "";
  for (const [start, next] of [...runs, [text.length, ""]]) {
    if (start > from) piece.append(classes ? element("span", classes, text.slice(from, start)) : text.slice(from, start));
    [from, classes] = [start, next];
  }
  return piece;
}
