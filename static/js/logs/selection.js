// Text selected with the mouse: messages only are copied, without numbers, names or times; and nothing scrolls meanwhile.
import { read } from "cube/logs/rows";

export function listen(view) {
  const { body, rows } = view.part;
  let isEverything = false;

  document.addEventListener("selectionchange", () => {
    const selection = getSelection();
    if (!selection.isCollapsed && rows.contains(selection.anchorNode)) view.list.follow = false;
  });
  body.addEventListener("pointerdown", () => { isEverything = false; });
  body.addEventListener("copy", (event) => {
    const selection = getSelection();
    if (selection.isCollapsed || event.target.closest?.(".logpanel")) return;
    const texts = isEverything ? view.held.lines.filter(({ at }) => at >= 0).map((line) => read(line).text) : picked(view, selection.getRangeAt(0));
    if (!texts.length) return;
    event.clipboardData.setData("text/plain", texts.join("\n"));
    event.preventDefault();
    isEverything = false;
  });

  return {
    all() {
      getSelection().selectAllChildren(rows);
      isEverything = true;
    },
  };
}

function picked({ list }, range) {
  const texts = [];
  for (const entry of list.entries) {
    const row = list.drawn.get(entry);
    const message = row?.querySelector(".m");
    if (!message || !range.intersectsNode(row)) continue;
    const part = document.createRange();
    part.selectNodeContents(message);
    if (message.contains(range.startContainer)) part.setStart(range.startContainer, range.startOffset);
    if (message.contains(range.endContainer)) part.setEnd(range.endContainer, range.endOffset);
    const isWhole = part.toString() === message.textContent;
    texts.push(isWhole ? read(entry.line).text : part.toString());
  }
  return texts;
}
