// Makes <textarea data-code="python|shell|yaml"> comfortable: line numbers, indentation, a height that fits.
const INDENT = { python: "    ", shell: "  ", yaml: "  " };
const OPENS = { python: /[:([{]\s*$/, shell: /(\bthen|\bdo|\{|\\)\s*$/, yaml: /:\s*$/ };

export function mount(area) {
  const indent = INDENT[area.dataset.code] ?? "  ";
  const opens = OPENS[area.dataset.code] ?? /$^/;
  const box = document.createElement("div");
  const lines = document.createElement("pre");
  let leaving = false;

  box.className = "codefield";
  lines.className = "codefield-lines";
  lines.setAttribute("aria-hidden", "true");
  area.spellcheck = false;
  area.wrap = "off";
  area.autocapitalize = "off";
  area.replaceWith(box);
  box.append(lines, area);

  function fit() {
    const count = area.value.split("\n").length;
    area.rows = Math.max(5, Math.min(count + 1, 28));
    const numbers = Array.from({ length: count }, (_, line) => line + 1).join("\n");
    if (lines.textContent !== numbers) lines.textContent = numbers;
    // The gutter follows the text area's height instead of stretching it.
    lines.style.maxHeight = `${area.offsetHeight}px`;
    lines.scrollTop = area.scrollTop;
  }

  // execCommand is the one way to edit that keeps the browser's undo.
  const insert = (words) => document.execCommand("insertText", false, words);

  function shift(outwards) {
    const { selectionStart: from, selectionEnd: to, value } = area;
    const start = value.lastIndexOf("\n", from - 1) + 1;
    const block = value.slice(start, to);
    const moved = outwards
      ? block.replace(new RegExp(`^ {1,${indent.length}}`, "gm"), "")
      : block.replace(/^(?=.)/gm, indent);
    if (moved === block) return;
    area.setSelectionRange(start, to);
    insert(moved);
    if (from === to) area.setSelectionRange(...Array(2).fill(Math.max(start, from + moved.length - block.length)));
    else area.setSelectionRange(start, start + moved.length);
  }

  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { leaving = true; return; }
    if (event.key === "Tab" && !leaving) {
      event.preventDefault();
      if (event.shiftKey || area.selectionStart !== area.selectionEnd) shift(event.shiftKey);
      else insert(indent);
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      const line = area.value.slice(0, area.selectionStart).split("\n").at(-1);
      event.preventDefault();
      insert(`\n${line.match(/^\s*/)[0]}${opens.test(line) ? indent : ""}`);
    }
    if (event.key !== "Shift") leaving = false;  // Esc, then Tab, leaves the field.
  });
  area.addEventListener("input", fit);
  area.addEventListener("cube:filled", fit);  // a script has put another text in
  area.addEventListener("scroll", () => { lines.scrollTop = area.scrollTop; });
  new ResizeObserver(fit).observe(area);
  fit();
}
